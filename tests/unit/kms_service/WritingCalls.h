// WritingCalls: each call that changes something, with a request that succeeds.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "FaultyKeyStore.h"
#include "ImportFixture.h"

namespace keyfold {

// WritingFixture is a Kms on a key store that can be told to fail, and what is to be
// seen of all its state.
class WritingFixture : public ImportFixture {
 public:
  void SetUp() override {
    KmsTest::SetUp();
    ASSERT_TRUE(ReopenFaulty().ok());
    Must(kRootUid, "iam", "ApplyIam", {{"Document", Iam()}});
  }
  Status ReopenFaulty() {
    kms_.reset();
    auto store = OpenSqliteKeyStore(folder_ + "/keys.db");
    if (!store.ok()) return store.status();
    auto kms = Kms::Open(std::make_unique<FaultyKeyStore>(std::move(*store), fault_),
                         RootKey(CopySecret(root_)), folder_, clock_);
    if (!kms.ok()) return kms.status();
    kms_ = std::move(*kms);
    return OkStatus();
  }

  // View is what who may see everything is told of it.
  json View() {
    const auto tell = [&](const char* service, const char* operation,
                          const json& request) {
      auto answer = Call(0, operation, request, service);
      return answer.ok() ? *answer : json(answer.status().ToString());
    };
    json view = {{"aliases", tell("kms", "ListAliases", {{"Limit", 100}})},
                 {"iam", tell("iam", "GetIam", json::object())},
                 {"access keys", tell("iam", "ListAccessKeys", json::object())},
                 {"archives", tell("audit", "ListArchives", json::object())},
                 {"rules", tell("audit", "GetAlertRules", json::object())}};
    const json keys = tell("kms", "ListKeys", {{"Limit", 1000}});
    for (const json& listed : keys.at("Keys")) {
      const json key = {{"KeyId", listed["KeyId"]}};
      json& told = view["keys"][listed["KeyId"].get<std::string>()];
      for (const char* operation : {"DescribeKey", "GetKeyPolicy", "ListGrants",
                                    "ListResourceTags", "GetKeyRotationStatus"})
        told[operation] = tell("kms", operation, key);
      told["materials"] = tell(
          "kms", "ListKeyRotations",
          {{"KeyId", listed["KeyId"]}, {"IncludeKeyMaterial", "ALL_KEY_MATERIAL"}});
    }
    return view;
  }

  // ExpectAgreement: what is in memory is what the store holds, row by row, and what is
  // there after a new start.
  void ExpectAgreement() {
    const json view = View();
    EXPECT_EQ(Try(kRootUid, "BackupKeyStore", json::object(), "store"), "ok");
    const Status opened = ReopenFaulty();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    EXPECT_EQ(View(), view);
    EXPECT_EQ(Try(kRootUid, "VerifyLog", json::object(), "audit"), "ok");
  }

  // What requests are made of.
  json OfKey(const json& more = json::object(), const char* before = nullptr) {
    json request = {{"KeyId", MakeKey()}};
    if (before != nullptr) Must(kCfo, before, request);
    request.update(more);
    return request;
  }
  json Granted() {
    const json key = OfKey();
    const json grant = Must(kCfo, "CreateGrant",
                            {{"KeyId", key["KeyId"]},
                             {"GranteePrincipal", "user:uid:60002"},
                             {"RetiringPrincipal", "user:uid:60001"},
                             {"Operations", {"Decrypt"}}});
    return {{"KeyId", key["KeyId"]}, {"GrantId", grant["GrantId"]}};
  }
  json Alias(bool there, const char* target) {
    const std::string key = MakeKey(), name = "alias/of-" + key;
    if (there) Must(kCfo, "CreateAlias", {{"AliasName", name}, {"TargetKeyId", key}});
    json request = {{"AliasName", name}};
    if (target != nullptr) request[target] = there ? MakeKey() : key;
    return request;
  }
  // A user has two at most.
  json AccessKey(bool there, const json& more = json::object()) {
    const json all = Must(0, "iam", "ListAccessKeys", json::object());
    for (const json& key : all["AccessKeyMetadata"])
      Must(0, "iam", "DeleteAccessKey", {{"AccessKeyId", key["AccessKeyId"]}});
    if (!there) return json::object();
    const json made = Must(0, "iam", "CreateAccessKey", json::object());
    json request = {{"AccessKeyId", made["AccessKey"]["AccessKeyId"]}};
    request.update(more);
    return request;
  }
  json ImportRequest() {
    NewMaterial();
    return WrappedRequest(MakeKey("EXTERNAL"));
  }
  // Iam is another document each time.
  std::string Iam() {
    return std::string(kIam) + "  root: {policies: [AdministratorAccess]}\n  \"uid:" +
           std::to_string(++last_user_) + "\": {policies: [FilesFullAccess]}\n";
  }
  using ImportFixture::Imported;
  using KmsTest::MakeKey;
  using KmsTest::Must;

  CommitFault fault_;

 private:
  uid_t last_user_ = 61000;
};

struct WritingCall {
  const char *service, *operation;
  uid_t uid;
  std::function<json(WritingFixture&)> request;
  bool commits = true;
  bool shows = true;  // in WritingFixture::View
};

inline const std::vector<WritingCall>& WritingCalls() {
  using T = WritingFixture;
  static const json none = json::object();
  static const std::vector<WritingCall> calls = {
      {"kms", "CreateKey", kCfo, [](T&) { return none; }},
      {"kms", "UpdateKeyDescription", kCfo,
       [](T& t) {
         return t.OfKey({{"Description", "d"}});
       }},
      {"kms", "EnableKey", kCfo, [](T& t) { return t.OfKey(none, "DisableKey"); }},
      {"kms", "DisableKey", kCfo, [](T& t) { return t.OfKey(); }},
      {"kms", "ScheduleKeyDeletion", kCfo, [](T& t) { return t.OfKey(); }},
      {"kms", "CancelKeyDeletion", kCfo,
       [](T& t) { return t.OfKey(none, "ScheduleKeyDeletion"); }},
      {"kms", "CreateAlias", kCfo, [](T& t) { return t.Alias(false, "TargetKeyId"); }},
      {"kms", "UpdateAlias", kCfo, [](T& t) { return t.Alias(true, "TargetKeyId"); }},
      {"kms", "DeleteAlias", kCfo, [](T& t) { return t.Alias(true, nullptr); }},
      {"kms", "TagResource", kCfo,
       [](T& t) {
         return t.OfKey({{"Tags", {{{"TagKey", "a"}, {"TagValue", "b"}}}}});
       }},
      {"kms", "UntagResource", kCfo,
       [](T& t) {
         json request = t.OfKey();
         t.Must(kCfo, "TagResource",
                {{"KeyId", request["KeyId"]},
                 {"Tags", {{{"TagKey", "a"}, {"TagValue", "b"}}}}});
         request["TagKeys"] = json::array({"a"});
         return request;
       }},
      {"kms", "PutKeyPolicy", kCfo,
       [](T& t) {
         return t.OfKey({{"Policy",
                          "Statement: [{Effect: Allow, Principal: \"*\", "
                          "Action: \"kms:*\"}]"}});
       }},
      {"kms", "CreateGrant", kCfo,
       [](T& t) {
         return t.OfKey(
             {{"GranteePrincipal", "user:uid:60002"}, {"Operations", {"Decrypt"}}});
       }},
      {"kms", "RevokeGrant", kCfo, [](T& t) { return t.Granted(); }},
      {"kms", "RetireGrant", kCfo, [](T& t) { return t.Granted(); }},
      {"kms", "EnableKeyRotation", kCfo, [](T& t) { return t.OfKey(); }},
      {"kms", "DisableKeyRotation", kCfo,
       [](T& t) { return t.OfKey(none, "EnableKeyRotation"); }},
      {"kms", "RotateKeyOnDemand", kCfo, [](T& t) { return t.OfKey(); }},
      {"kms", "GetParametersForImport", kCfo,
       [](T& t) -> json {
         return {{"KeyId", t.MakeKey("EXTERNAL")},
                 {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                 {"WrappingKeySpec", "RSA_2048"}};
       },
       true, false},
      {"kms", "ImportKeyMaterial", kCfo, [](T& t) { return t.ImportRequest(); }},
      {"kms", "DeleteImportedKeyMaterial", kCfo,
       [](T& t) -> json {
         return {{"KeyId", t.Imported()}};
       }},
      {"iam", "ApplyIam", kRootUid,
       [](T& t) -> json {
         return {{"Document", t.Iam()}};
       }},
      {"iam", "CreateAccessKey", 0, [](T& t) { return t.AccessKey(false); }},
      {"iam", "UpdateAccessKey", 0,
       [](T& t) {
         return t.AccessKey(true, {{"Status", "Inactive"}});
       }},
      {"iam", "DeleteAccessKey", 0, [](T& t) { return t.AccessKey(true); }},
      {"audit", "ArchiveLog", kRootUid, [](T&) { return none; }, false},
      {"audit", "ReleaseLog", kRootUid,
       [](T& t) -> json {
         return {{"Archive", t.Must(kRootUid, "audit", "ArchiveLog", none)["Archive"]}};
       }},
      {"audit", "ApplyAlertRules", kRootUid,
       [](T&) -> json {
         return {{"Document", "off: [IamChanged]\n# " + RandomUuid() + "\n"}};
       }},
      {"store", "BackupKeyStore", kRootUid, [](T&) { return none; }, false, false},
      {"store", "RotateRootKey", kRootUid,
       [](T&) -> json {
         return {{"To", "passphrase"}};
       },
       true, false},
      {"store", "ChangeRootKeyProvider", kRootUid,
       [](T&) -> json {
         return {{"To", "passphrase"}};
       },
       true, false},
      {"store", "UpgradeStore", kRootUid,
       [](T&) -> json {
         return {{"From", 1}, {"To", 2}};
       },
       true, false},
  };
  return calls;
}

inline std::string NameOf(const testing::TestParamInfo<WritingCall>& call) {
  return call.param.operation;
}

}  // namespace keyfold
