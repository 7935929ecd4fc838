// A real Kms with a few keys, on rows in memory and an audit log in memory's
// filesystem, for targets that call it.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "kms/base/Clock.h"
#include "kms/crypto/Crypto.h"
#include "kms/service/Kms.h"
#include "tests/fuzz/Input.h"

namespace keyfold {

// TemporaryFolders are removed at exit. A Kms that a target keeps is never closed: by
// then what each thread holds is gone.
inline std::set<std::string>& TemporaryFolders() {
  static auto* folders = [] {
    std::atexit([] {
      std::error_code ignored;
      for (const std::string& folder : TemporaryFolders())
        std::filesystem::remove_all(folder, ignored);
    });
    return new std::set<std::string>();
  }();
  return *folders;
}

class MemoryKeyStore : public KeyStore {
 public:
  int format() const override { return kKeyStoreFormat; }
  Status RaiseFormat(int) override { return OkStatus(); }
  Result<std::vector<Row>> ReadAll(Table table) override {
    std::vector<Row> rows;
    for (const auto& [id, row] : tables_[table]) rows.push_back(row);
    return rows;
  }
  Status Commit(const std::vector<Change>& changes) override {
    for (const Change& change : changes) {
      Promise(!change.row.id.empty() && change.row.id.size() <= 512,
              "a row's id has 1 to 512 bytes");
      if (change.remove)
        tables_[change.table].erase(change.row.id);
      else
        tables_[change.table][change.row.id] = change.row;
    }
    return OkStatus();
  }

 private:
  std::map<Table, std::map<std::string, Row>> tables_;
};

class FuzzKms {
 public:
  static constexpr uid_t kRoot = 60000, kCfo = 60001, kAdministrator = 60003;

  FuzzKms() : folder_(MakeFolder()) {
    Account account;
    account.store_id = "11111111-2222-4333-8444-555555555555";
    account.root_uid = kRoot;
    auto store = std::make_unique<MemoryKeyStore>();
    RootKey root(RandomSecret(kKeySize));
    Promise(Kms::Create(*store, root, account, clock_).ok(), "a store is made");
    auto opened = Kms::Open(std::move(store), std::move(root), folder_, clock_);
    Promise(opened.ok(), "a store opens");
    kms_ = std::move(opened).value();
    Must(kRoot, "iam", "ApplyIam", {{"Document", R"(
users:
  "uid:60001": {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  "uid:60003": {policies: [AdministratorAccess]}
)"}});
    const nlohmann::json policy = {
        {"Statement",
         {{{"Effect", "Allow"}, {"Principal", "account"}, {"Action", "kms:*"}},
          {{"Effect", "Allow"},
           {"Principal", "user:uid:60001"},
           {"Action", "kms:*"}}}}};
    for (const auto& [alias, origin] :
         {std::pair{"alias/a", "AWS_KMS"}, std::pair{"alias/e", "EXTERNAL"}}) {
      const auto made = Must(kCfo, "kms", "CreateKey",
                             {{"Origin", origin}, {"Policy", policy.dump()}});
      Must(kCfo, "kms", "CreateAlias",
           {{"AliasName", alias}, {"TargetKeyId", made["KeyMetadata"]["KeyId"]}});
    }
  }
  ~FuzzKms() {
    kms_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
    TemporaryFolders().erase(folder_);
  }
  FuzzKms(const FuzzKms&) = delete;
  FuzzKms& operator=(const FuzzKms&) = delete;

  Kms& kms() { return *kms_; }
  FakeClock& clock() { return clock_; }
  Result<nlohmann::json> Call(uid_t uid, std::string_view service,
                              std::string_view operation,
                              const nlohmann::json& request) {
    Caller caller;
    caller.uid = caller.gid = uid;
    caller.pid = getpid();
    caller.groups = std::vector<gid_t>{};
    auto answer = kms_->Call(caller, service, operation, request);
    Promise(answer.ok() || !answer.status().message().empty(), "an error says why");
    Promise(answer.ok() || answer.status().error() != Error::kInternal,
            "no request is an internal error");
    return answer;
  }
  nlohmann::json Must(uid_t uid, std::string_view service, std::string_view operation,
                      const nlohmann::json& request) {
    auto answer = Call(uid, service, operation, request);
    Promise(answer.ok(), "a good call succeeds");
    return *answer;
  }

 private:
  static std::string MakeFolder() {
    std::string name =
        (std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp") +
        std::string("/keyfold-fuzz-XXXXXX");
    Promise(mkdtemp(name.data()) != nullptr, "there is a temporary folder");
    TemporaryFolders().insert(name);
    return name;
  }

  const std::string folder_;
  FakeClock clock_{TimePoint(std::chrono::milliseconds(1767225600000))};
  std::unique_ptr<Kms> kms_;
};

}  // namespace keyfold
