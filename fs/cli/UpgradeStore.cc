#include "fs/cli/UpgradeStore.h"

#include <sys/stat.h>

#include <algorithm>

#include "fs/backend/Backend.h"
#include "fs/cli/RootKeyChange.h"
#include "fs/cli/Store.h"
#include "fs/cli/StoreFiles.h"

namespace keyfold {
namespace {

constexpr char kKeyStoreFile[] = "keys.db";
constexpr char kConfigFile[] = "keyfold.json";
constexpr char kHalfCopy[] = "keys.db.upgrading";

bool SameFile(const std::string& a, const std::string& b) {
  struct stat of_a, of_b;
  return ::lstat(a.c_str(), &of_a) == 0 && ::lstat(b.c_str(), &of_b) == 0 &&
         of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

// Upgrading is one store on its way.
class Upgrading {
 public:
  Upgrading(std::string store, StoreConfig config, const UpgradeRequest& request)
      : store_(std::move(store)), config_(std::move(config)), request_(request) {}

  // Record opens all there is, so that nothing is begun on a store that is damaged, and
  // says on record that it will be done.
  Status Record(const RootKey& root, int from) const;
  // keyfold.json is last: until then the store is of the former format.
  Status Run(StoreUpgrade* found);

 private:
  // Behind is what kept files are named with. An upgrade that was cut off before
  // keyfold.json gave way is gone on with under its number.
  std::string Behind() const;
  Status RaiseKeyStore(const std::string& behind, StoreUpgrade* found) const;
  Status RaiseConfig(const std::string& behind, StoreUpgrade* found);
  std::string At(const std::string& name) const { return store_ + "/" + name; }

  const std::string store_;
  StoreConfig config_;
  const UpgradeRequest& request_;
};

Status Upgrading::Record(const RootKey& root, int from) const {
  KF_ASSIGN_OR_RETURN(const auto kms, OpenKms(store_, config_, root));
  return kms
      ->Call(WhoeverRunsThis(), "store", "UpgradeStore",
             {{"From", from}, {"To", kStoreFormat}})
      .status();
}

std::string Upgrading::Behind() const {
  const std::string fresh = KeptName(store_, {kConfigFile}, "upgrade");
  const size_t digits = fresh.rfind('-') + 1;
  const int number = std::stoi(fresh.substr(digits));
  const std::string last = fresh.substr(0, digits) + std::to_string(number - 1);
  return SameFile(At(kConfigFile), At(kConfigFile + last)) ? last : fresh;
}

Status Upgrading::RaiseKeyStore(const std::string& behind, StoreUpgrade* found) const {
  KF_RETURN_IF_ERROR(
      KeepCopied(At(kKeyStoreFile), At(kHalfCopy), At(kKeyStoreFile + behind)));
  found->kept.push_back(kKeyStoreFile + behind);
  request_.after_step();
  KF_ASSIGN_OR_RETURN(const auto keys, OpenSqliteKeyStore(At(kKeyStoreFile)));
  KF_RETURN_IF_ERROR(keys->RaiseFormat(kKeyStoreFormat));
  request_.after_step();
  return OkStatus();
}

Status Upgrading::RaiseConfig(const std::string& behind, StoreUpgrade* found) {
  const std::string config = At(kConfigFile), kept = At(kConfigFile + behind);
  if (!SameFile(config, kept)) KF_RETURN_IF_ERROR(KeepLinked(config, kept));
  found->kept.push_back(kConfigFile + behind);
  KF_RETURN_IF_ERROR(SyncFolder(store_));
  request_.after_step();
  config_.format = kStoreFormat;
  KF_RETURN_IF_ERROR(WriteStoreConfig(store_, config_));
  request_.after_step();
  return OkStatus();
}

Status Upgrading::Run(StoreUpgrade* found) {
  const std::string behind = Behind();
  if (found->key_store_format < kKeyStoreFormat)
    KF_RETURN_IF_ERROR(RaiseKeyStore(behind, found));
  if (found->format < kStoreFormat) KF_RETURN_IF_ERROR(RaiseConfig(behind, found));
  return OkStatus();
}

}  // namespace

bool StoreUpgrade::Needed() const {
  return format < kStoreFormat || key_store_format < kKeyStoreFormat;
}

Result<StoreUpgrade> UpgradeStore(const UpgradeRequest& request,
                                  const PassphrasePrompt& prompt) {
  KF_RETURN_IF_ERROR(ReadStoreConfig(request.store).status());
  KF_ASSIGN_OR_RETURN(const std::string store, RealPath(request.store));
  KF_ASSIGN_OR_RETURN(const StoreLock lock, StoreLock::Take(store));
  KF_ASSIGN_OR_RETURN(const StoreConfig config, ReadStoreConfig(store));
  KF_RETURN_IF_ERROR(FinishRotation(store, config));
  StoreUpgrade found;
  found.format = config.format;
  {
    KF_ASSIGN_OR_RETURN(const auto keys,
                        OpenSqliteKeyStore(store + "/" + kKeyStoreFile));
    found.key_store_format = keys->format();
  }
  if (request.dry_run || !found.Needed()) return found;
  KF_ASSIGN_OR_RETURN(const RootKey root,
                      UnsealRootKey(config.root_key, request.root_key, prompt));
  Upgrading upgrading(store, config, request);
  KF_RETURN_IF_ERROR(
      upgrading.Record(root, std::min(found.format, found.key_store_format)));
  request.after_step();
  KF_RETURN_IF_ERROR(upgrading.Run(&found));
  return found;
}

}  // namespace keyfold
