#include "fs/cli/RootKeyChange.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "fs/backend/Backend.h"
#include "fs/cli/Store.h"
#include "kms/crypto/Crypto.h"
#include "kms/service/Rekey.h"

namespace keyfold {
namespace {

namespace files = std::filesystem;

constexpr char kStoreFile[] = "keys.db";
constexpr std::string_view kFreshPrefix = "keys.db.rekeyed-";
constexpr std::string_view kFormerPrefixes[] = {"keys.db.before-",
                                                "keyfold.json.before-"};

void RemoveKeyStore(const std::string& path) {
  std::error_code ignored;
  for (const char* behind : {"", "-journal", "-spare"})
    files::remove(path + behind, ignored);
}

// RemoveUnfinished takes away what rotations left that were cut off before they
// counted.
void RemoveUnfinished(const std::string& store) {
  std::error_code ignored;
  std::vector<files::path> found;
  for (const auto& entry : files::directory_iterator(store, ignored))
    if (entry.path().filename().string().starts_with(kFreshPrefix))
      found.push_back(entry.path());
  for (const auto& path : found) files::remove(path, ignored);
}

// Fresh is the new key store until it counts.
class Fresh {
 public:
  explicit Fresh(const std::string& store)
      : name_(std::string(kFreshPrefix) + ToHex(RandomBytes(8))),
        path_(store + "/" + name_) {}
  ~Fresh() {
    if (!counts_) RemoveKeyStore(path_);
  }
  Fresh(const Fresh&) = delete;
  Fresh& operator=(const Fresh&) = delete;
  const std::string& name() const { return name_; }
  const std::string& path() const { return path_; }
  void Counts() { counts_ = true; }

 private:
  const std::string name_, path_;
  bool counts_ = false;
};

// Opened is a store whose root key may be changed by who runs this.
struct Opened {
  std::string path;
  StoreConfig config;
  StoreLock lock;
  RootKey root;
  std::string to;
};

Result<Opened> Open(const RootKeyRequest& request, const PassphrasePrompt& prompt) {
  KF_RETURN_IF_ERROR(ReadStoreConfig(request.store).status());
  KF_ASSIGN_OR_RETURN(const std::string path, RealPath(request.store));
  KF_ASSIGN_OR_RETURN(StoreLock lock, StoreLock::Take(path));
  KF_ASSIGN_OR_RETURN(StoreConfig config, ReadStoreConfig(path));
  KF_RETURN_IF_ERROR(FinishRotation(path, config));
  RemoveUnfinished(path);
  std::string to = request.to.empty() ? request.root_key : request.to;
  if (to.empty()) {
    KF_ASSIGN_OR_RETURN(to, RootKeySpec(config.root_key));
  }
  KF_RETURN_IF_ERROR(CheckRootKeyOutside(to, path));
  KF_ASSIGN_OR_RETURN(RootKey root,
                      UnsealRootKey(config.root_key, request.root_key, prompt));
  return Opened{path, std::move(config), std::move(lock), std::move(root),
                std::move(to)};
}

// Record asks whether the caller may, and says on record that it will be done.
Status Record(const Opened& store, const char* operation) {
  KF_ASSIGN_OR_RETURN(const auto kms, OpenKms(store.path, store.config, store.root));
  return kms
      ->Call(WhoeverRunsThis(), "store", operation,
             {{"To", store.to.substr(0, store.to.find(':'))}})
      .status();
}

}  // namespace

Status FinishRotation(const std::string& store, const StoreConfig& config) {
  if (!config.key_store.starts_with(kFreshPrefix)) return OkStatus();
  const std::string fresh = store + "/" + config.key_store;
  const std::string keys = store + "/" + kStoreFile;
  if (::access(fresh.c_str(), F_OK) != 0) return OkStatus();
  // Both are closed and whole: a journal would be one of nothing.
  std::error_code ignored;
  files::remove(keys + "-journal", ignored);
  KF_RETURN_IF_ERROR(SyncFolder(store));
  if (::rename(fresh.c_str(), keys.c_str()) != 0) return Status::FromErrno(errno, keys);
  RemoveKeyStore(fresh);
  return SyncFolder(store);
}

Status RotateRootKey(const RootKeyRequest& request, const PassphrasePrompt& prompt) {
  KF_ASSIGN_OR_RETURN(Opened store, Open(request, prompt));
  request.after_step();
  KF_ASSIGN_OR_RETURN(const SealedRootKey sealed, CreateRootKey(store.to, prompt));
  KF_RETURN_IF_ERROR(Record(store, "RotateRootKey"));
  request.after_step();

  Fresh fresh(store.path);
  KF_ASSIGN_OR_RETURN(auto former, OpenSqliteKeyStore(store.path + "/" + kStoreFile));
  KF_ASSIGN_OR_RETURN(auto keys, CreateSqliteKeyStore(fresh.path()));
  KF_RETURN_IF_ERROR(RekeyKeyStore(std::move(former), store.root, std::move(keys),
                                   sealed.key, store.config.metadata_key,
                                   MetadataContext(store.config.account.store_id)));
  KF_RETURN_IF_ERROR(SyncFolder(store.path));
  request.after_step();

  StoreConfig config = store.config;
  config.root_key = sealed.description;
  config.key_store = fresh.name();
  fresh.Counts();
  const Status written = WriteStoreConfig(store.path, config);
  if (!written.ok()) {
    // Whether it counts is what the file says.
    const auto now = ReadStoreConfig(store.path);
    if (now.ok() && now->key_store != fresh.name()) RemoveKeyStore(fresh.path());
    return written;
  }
  request.after_step();
  KF_RETURN_IF_ERROR(FinishRotation(store.path, config));
  request.after_step();
  return OkStatus();
}

std::vector<std::string> FormerKeyStores(const std::string& store) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : files::directory_iterator(store, ignored))
    for (const std::string_view prefix : kFormerPrefixes)
      if (entry.path().filename().string().starts_with(prefix))
        found.push_back(entry.path().string());
  std::sort(found.begin(), found.end());
  return found;
}

Status ChangeRootKeyProvider(const RootKeyRequest& request,
                             const PassphrasePrompt& prompt) {
  KF_ASSIGN_OR_RETURN(Opened store, Open(request, prompt));
  request.after_step();
  KF_ASSIGN_OR_RETURN(auto description, SealRootKey(store.root, store.to, prompt));
  KF_RETURN_IF_ERROR(Record(store, "ChangeRootKeyProvider"));
  request.after_step();
  store.config.root_key = std::move(description);
  KF_RETURN_IF_ERROR(WriteStoreConfig(store.path, store.config));
  request.after_step();
  return OkStatus();
}

}  // namespace keyfold
