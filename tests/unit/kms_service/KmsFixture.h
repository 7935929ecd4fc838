// A real Kms on a real SQLite store and audit log in a temporary folder, with a
// clock that tests move. Users are uids without a passwd entry: "uid:60001".
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kms/crypto/Crypto.h"
#include "kms/service/Kms.h"

namespace keyfold {

using nlohmann::json;
using std::chrono::days;
using std::chrono::hours;

inline constexpr char kDenied[] = "AccessDeniedException";
inline constexpr uid_t kRootUid = 60000, kCfo = 60001, kAccounts = 60002,
                       kSysadmin = 60003, kNobody = 60004;

class KmsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/keyfold-kms-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    Account account;
    account.store_id = RandomUuid();
    account.root_uid = kRootUid;
    account_ = account;
    root_ = RandomSecret(kKeySize);
    auto store = CreateSqliteKeyStore(folder_ + "/keys.db");
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    const Status created =
        Kms::Create(**store, RootKey(CopySecret(root_)), account, clock_);
    ASSERT_TRUE(created.ok()) << created.ToString();
    store = Status(Error::kInternal, "closed");
    const Status opened = Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    Must(kRootUid, "iam", "ApplyIam", {{"Document", kIam}});
  }
  void TearDown() override {
    kms_.reset();
    std::filesystem::remove_all(folder_);
  }

  Status Open() {
    auto store = OpenSqliteKeyStore(folder_ + "/keys.db");
    if (!store.ok()) return store.status();
    auto kms = Kms::Open(std::move(store).value(), RootKey(CopySecret(root_)), folder_,
                         clock_);
    if (!kms.ok()) return kms.status();
    kms_ = std::move(kms).value();
    return OkStatus();
  }
  // FillTables puts something into each table that a new store leaves empty; it returns
  // the key of an alias and a grant.
  std::string FillTables() {
    const std::string key = MakeKey();
    Must(kCfo, "CreateAlias", {{"AliasName", "alias/cfo"}, {"TargetKeyId", key}});
    Must(kCfo, "CreateGrant",
         {{"KeyId", key},
          {"GranteePrincipal", "user:uid:60002"},
          {"Operations", {"Decrypt"}}});
    const std::string external = MakeKey("EXTERNAL");
    Must(kCfo, "GetParametersForImport",
         {{"KeyId", external},
          {"WrappingAlgorithm", "RSAES_OAEP_SHA_1"},
          {"WrappingKeySpec", "RSA_2048"}});
    return key;
  }
  Status Reopen() {
    kms_.reset();
    return Open();
  }

  static Caller By(uid_t uid) {
    Caller caller;
    caller.uid = uid;
    caller.gid = uid;
    caller.pid = getpid();
    caller.groups = std::vector<gid_t>{};
    return caller;
  }
  Result<json> Call(uid_t uid, const char* operation, const json& request,
                    const char* service = "kms") {
    return kms_->Call(By(uid), service, operation, request);
  }
  json Must(uid_t uid, const char* service, const char* operation,
            const json& request) {
    auto answer = Call(uid, operation, request, service);
    EXPECT_TRUE(answer.ok()) << operation << ": " << answer.status().ToString();
    return answer.ok() ? *answer : json();
  }
  json Must(uid_t uid, const char* operation, const json& request) {
    return Must(uid, "kms", operation, request);
  }
  // The error's name, or "ok".
  std::string Try(uid_t uid, const char* operation, const json& request,
                  const char* service = "kms") {
    auto answer = Call(uid, operation, request, service);
    return answer.ok() ? "ok" : std::string(ErrorName(answer.status().error()));
  }

  // The cfo's key: cfo administers and uses it, the account may be let in by IAM.
  std::string MakeKey(const char* origin = "AWS_KMS",
                      const char* spec = "SYMMETRIC_DEFAULT") {
    const bool macs = std::string_view(spec).starts_with("HMAC");
    const json made =
        Must(kCfo, "CreateKey",
             {{"Policy", kPolicy},
              {"Origin", origin},
              {"KeySpec", spec},
              {"KeyUsage", macs ? "GENERATE_VERIFY_MAC" : "ENCRYPT_DECRYPT"}});
    return made.is_null() ? "" : made["KeyMetadata"]["KeyId"].get<std::string>();
  }
  std::string State(const std::string& key) {
    return Must(kCfo, "DescribeKey", {{"KeyId", key}})["KeyMetadata"]["KeyState"];
  }
  json LastRecord() {
    const json found = Must(kRootUid, "audit", "LookupEvents",
                            {{"MaxResults", 1}, {"AfterSequence", 0}});
    return found["Events"].back();
  }
  // Destructors do this too, but a killed process has none: the files as they
  // are now, to be put back after the Kms is gone.
  void Snapshot(const std::string& to) {
    std::filesystem::create_directory(folder_ + "/" + to);
    for (const char* name : {"keys.db", "audit.log"})
      std::filesystem::copy_file(folder_ + "/" + name, folder_ + "/" + to + "/" + name);
  }
  void Restore(const std::string& from, const char* name) {
    std::filesystem::copy_file(folder_ + "/" + from + "/" + name, folder_ + "/" + name,
                               std::filesystem::copy_options::overwrite_existing);
  }

  static constexpr char kIam[] = R"(
users:
  "uid:60001": {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  "uid:60002": {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  "uid:60003": {policies: [AdministratorAccess]}
)";
  static constexpr char kPolicy[] = R"(
Statement:
  - {Sid: Enable IAM policies, Effect: Allow, Principal: account, Action: "kms:*"}
  - {Sid: Administer, Effect: Allow, Principal: "user:uid:60001", Action: [
      "kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*",
      "kms:Revoke*", "kms:Disable*", "kms:Get*", "kms:Delete*", "kms:TagResource",
      "kms:UntagResource", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion",
      "kms:RotateKeyOnDemand", "kms:ImportKeyMaterial"]}
  - {Sid: Use, Effect: Allow, Principal: "user:uid:60001", Action: [
      "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*",
      "kms:GenerateMac", "kms:VerifyMac"]}
)";

  std::string folder_;
  Account account_;
  SecretBytes root_;
  FakeClock clock_{TimePoint(std::chrono::milliseconds(1767225600000))};  // 2026-01-01
  std::unique_ptr<Kms> kms_;
};

}  // namespace keyfold
