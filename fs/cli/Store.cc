#include "fs/cli/Store.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "fs/cli/HeldSignals.h"
#include "fs/cli/RootKeyChange.h"
#include "fs/vault/Vault.h"
#include "kms/crypto/Crypto.h"
#include "kms/service/Catalog.h"
#include "kms/service/OwnProcess.h"

namespace keyfold {
namespace {

Caller Service() {
  Caller caller = OwnProcess();
  caller.is_service = true;
  return caller;
}

// NewFolder is the folder of a store that is being made; it empties it again,
// and removes it if it made it, unless Keep is called.
class NewFolder {
 public:
  static Result<std::unique_ptr<NewFolder>> Make(const std::string& path) {
    const bool made = ::mkdir(path.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return Status::FromErrno(errno, "make " + path);
    std::error_code error;
    const bool is_folder = std::filesystem::is_directory(path, error);
    const bool empty = is_folder && std::filesystem::is_empty(path, error);
    if (error) return Status(Error::kSystem, path + ": " + error.message());
    if (!is_folder)
      return Status(Error::kUsage, path + " is not a folder. Name a new one.");
    if (!empty)
      return Status(Error::kUsage, path + " is not empty. Name a new or empty folder.");
    std::unique_ptr<NewFolder> folder(new NewFolder(path, made));
    if (!made && ::chmod(path.c_str(), 0700) != 0)
      return Status::FromErrno(errno, path);
    return folder;
  }
  ~NewFolder() {
    if (keep_) return;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(path_, ignored))
      std::filesystem::remove_all(entry.path(), ignored);
    if (made_) std::filesystem::remove(path_, ignored);
  }
  void Keep() { keep_ = true; }

 private:
  NewFolder(std::string path, bool made) : path_(std::move(path)), made_(made) {}
  const std::string path_;
  const bool made_;
  bool keep_ = false;
};

// NewKeyFile removes the key file of a store that could not be made.
class NewKeyFile {
 public:
  explicit NewKeyFile(const std::string& spec) {
    if (spec.starts_with("file:") && ::access(spec.substr(5).c_str(), F_OK) != 0)
      path_ = spec.substr(5);
  }
  ~NewKeyFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  NewKeyFile(const NewKeyFile&) = delete;
  NewKeyFile& operator=(const NewKeyFile&) = delete;
  void Keep() { path_.clear(); }

 private:
  std::string path_;
};

Status CheckNames(const NewStore& store) {
  const auto only = [](const std::string& text, const char* characters) {
    return text.find_first_not_of(characters) == std::string::npos;
  };
  if (store.account.size() != 12 || !only(store.account, "0123456789"))
    return {Error::kUsage, "--account expects 12 digits."};
  if (store.region.empty() || store.region.size() > 32 ||
      !only(store.region, "abcdefghijklmnopqrstuvwxyz0123456789-"))
    return {Error::kUsage, "--region expects a name such as local-1."};
  return OkStatus();
}

Status SyncAll(const std::string& path) {
  const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::syncfs(folder.get()) != 0)
    return Status::FromErrno(errno, path);
  const UniqueFd parent(
      ::openat(folder.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent.valid() || ::fsync(parent.get()) != 0)
    return Status::FromErrno(errno, path + "/..");
  return OkStatus();
}

// Fill makes keyfold.json last: without it the folder is no store.
Status Fill(const std::string& path, const RootKey& root, StoreConfig* config) {
  KF_ASSIGN_OR_RETURN(const StoreLock lock, StoreLock::Take(path));
  if (::mkdir((path + "/audit").c_str(), 0700) != 0)
    return Status::FromErrno(errno, path + "/audit");
  KF_ASSIGN_OR_RETURN(auto keys, CreateSqliteKeyStore(path + "/keys.db"));
  KF_RETURN_IF_ERROR(Kms::Create(*keys, root, config->account, Clock::System()));
  KF_ASSIGN_OR_RETURN(auto kms,
                      Kms::Open(std::move(keys), RootKey(CopySecret(root.bytes())),
                                path + "/audit", Clock::System()));
  KF_ASSIGN_OR_RETURN(const std::string key_id,
                      kms->ResolveKey(std::string(kServiceKeyAlias)));
  KF_ASSIGN_OR_RETURN(
      WrappedDataKey wrapped,
      kms->GenerateDataKey(Service(), key_id, MetadataContext(config->account.store_id),
                           ""));
  config->metadata_key = std::move(wrapped.blob);
  KF_RETURN_IF_ERROR(Vault::CreateTree({path + "/tree", config->account.store_id},
                                       MetadataKey(wrapped.key.Release()), key_id));
  kms.reset();
  KF_RETURN_IF_ERROR(SyncAll(path));
  KF_RETURN_IF_ERROR(WriteStoreConfig(path, *config));
  return SyncAll(path);
}

bool IsIntegrityError(const Status& status) {
  return status.error() == Error::kInvalidCiphertext ||
         status.error() == Error::kIncorrectKey || status.error() == Error::kNotFound;
}

bool SameAccount(const Account& a, const Account& b) {
  return a.id == b.id && a.region == b.region && a.store_id == b.store_id &&
         a.root_uid == b.root_uid;
}

}  // namespace

Caller WhoeverRunsThis() {
  Caller caller;
  caller.uid = ::getuid();
  caller.gid = ::getgid();
  caller.pid = ::getpid();
  return caller;
}

EncryptionContext MetadataContext(const std::string& store_id) {
  return {{"keyfold:store", store_id}, {"keyfold:purpose", "metadata"}};
}

Result<std::string> RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr)
    return Status::FromErrno(errno, path);
  return std::string(resolved);
}

bool IsInside(const std::string& path, const std::string& folder) {
  return path == folder || folder == "/" || path.starts_with(folder + "/");
}

// A secret kept beside what it seals would seal nothing.
Status CheckRootKeyOutside(const std::string& spec, const std::string& store) {
  const std::string file = RootKeyFile(spec);
  if (file.empty()) return OkStatus();
  std::error_code error;
  const auto key = std::filesystem::weakly_canonical(file, error);
  const auto folder = std::filesystem::weakly_canonical(store, error);
  if (!error && IsInside(key.string(), folder.string()))
    return {Error::kUsage,
            "The root key's file must not lie inside the store. Name "
            "another place."};
  return OkStatus();
}

Result<StoreConfig> CreateStore(const NewStore& store, const PassphrasePrompt& prompt) {
  KF_RETURN_IF_ERROR(CheckNames(store));
  KF_RETURN_IF_ERROR(CheckRootKeyOutside(store.root_key, store.path));
  std::error_code ignored;
  if (std::filesystem::exists(store.path, ignored)) {
    // Said before a passphrase is asked for.
    if (!std::filesystem::is_directory(store.path, ignored) ||
        !std::filesystem::is_empty(store.path, ignored))
      return Status(Error::kUsage, store.path +
                                       " is not an empty folder. Name a new or "
                                       "empty one.");
  }
  StoreConfig config;
  config.account = {store.account, store.region, RandomUuid(), ::getuid()};
  NewKeyFile key_file(store.root_key);
  KF_ASSIGN_OR_RETURN(SealedRootKey sealed, CreateRootKey(store.root_key, prompt));
  config.root_key = std::move(sealed.description);

  const HeldSignals held;
  KF_ASSIGN_OR_RETURN(const auto folder, NewFolder::Make(store.path));
  KF_RETURN_IF_ERROR(Fill(store.path, sealed.key, &config));
  if (held.Arrived()) return Status(Error::kSystem, "Interrupted. Nothing was made.");
  folder->Keep();
  key_file.Keep();
  return config;
}

Result<std::unique_ptr<Kms>> OpenKms(const std::string& path, const StoreConfig& config,
                                     const RootKey& root) {
  auto keys = OpenSqliteKeyStore(path + "/keys.db");
  if (!keys.ok() && keys.status().sys_errno() == ENOENT)
    return Status(Error::kCorrupt, path +
                                       "/keys.db is missing. Restore it from a backup; "
                                       "without it nothing can be decrypted.");
  if (!keys.ok()) return keys.status();
  KF_ASSIGN_OR_RETURN(
      auto kms, Kms::Open(std::move(keys).value(), RootKey(CopySecret(root.bytes())),
                          path + "/audit", Clock::System()));
  kms->SetConfiguration([path] { return ReadStoreConfigText(path); });
  if (!SameAccount(kms->account(), config.account))
    return Status(Error::kCorrupt, path +
                                       "/keyfold.json does not belong to the store's "
                                       "keys.db. Restore both from the same backup.");
  return kms;
}

namespace {

// DamagedPart tells which of the two does not open, when both together do not.
StorePart DamagedPart(const std::string& path, const RootKey& root) {
  const RootSecrets secrets(root);
  auto keys = OpenSqliteKeyStore(path + "/keys.db");
  return keys.ok() && Catalog::Load(std::move(keys).value(), secrets).ok()
             ? StorePart::kAuditLog
             : StorePart::kKeyStore;
}

}  // namespace

Result<OpenStore> OpenStore::Open(const std::string& path, const std::string& root_key,
                                  const PassphrasePrompt& prompt, StorePart* damaged) {
  if (damaged != nullptr) *damaged = StorePart::kConfiguration;
  KF_RETURN_IF_ERROR(ReadStoreConfig(path).status());
  KF_ASSIGN_OR_RETURN(const std::string real, RealPath(path));
  KF_ASSIGN_OR_RETURN(StoreLock lock, StoreLock::Take(real));
  // Who changes its root key holds the lock.
  KF_ASSIGN_OR_RETURN(StoreConfig config, ReadStoreConfig(real));
  KF_RETURN_IF_ERROR(FinishRotation(real, config));
  KF_ASSIGN_OR_RETURN(const RootKey root,
                      UnsealRootKey(config.root_key, root_key, prompt));
  auto opened = OpenKms(real, config, root);
  if (!opened.ok() && damaged != nullptr) *damaged = DamagedPart(real, root);
  KF_ASSIGN_OR_RETURN(auto kms, std::move(opened));
  return OpenStore(real, std::move(config), std::move(lock), std::move(kms));
}

Result<MetadataKey> OpenStore::OpenMetadataKey() {
  auto key = kms_->UnwrapDataKey(Service(), config_.metadata_key,
                                 MetadataContext(config_.account.store_id), "");
  if (!key.ok() && IsIntegrityError(key.status()))
    return Status(Error::kCorrupt, path_ +
                                       "/keyfold.json is damaged: its metadata key "
                                       "does not open. Restore it from a backup.");
  if (!key.ok()) return key.status();
  return MetadataKey(key->Release());
}

}  // namespace keyfold
