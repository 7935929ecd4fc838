#include "fs/cli/RestoreStore.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "fs/backend/Backend.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/RootKeyChange.h"
#include "fs/cli/Store.h"
#include "fs/cli/StoreFiles.h"
#include "kms/base/PrivateFile.h"
#include "kms/service/Backup.h"

namespace keyfold {
namespace {

namespace files = std::filesystem;

constexpr size_t kMaxBackup = size_t{1} << 30;
constexpr char kStoreFile[] = "keys.db";
constexpr char kFreshFile[] = "keys.db.restoring";
constexpr char kAudit[] = "audit";
constexpr char kFreshAudit[] = "audit.restoring";

// Fresh removes what an earlier restore left when it was killed, and what this one
// makes unless it is put in place.
class Fresh {
 public:
  explicit Fresh(std::string store) : store_(std::move(store)) { Clear(); }
  ~Fresh() { Clear(); }
  Fresh(const Fresh&) = delete;
  Fresh& operator=(const Fresh&) = delete;
  std::string keys() const { return store_ + "/" + kFreshFile; }
  std::string audit() const { return store_ + "/" + kFreshAudit; }

 private:
  void Clear() {
    std::error_code ignored;
    for (const char* behind : {"", "-journal", "-spare"})
      files::remove(keys() + behind, ignored);
    files::remove_all(audit(), ignored);
  }
  const std::string store_;
};

// A wrong name must not become a store: a folder without keyfold.json has a tree, or
// nothing but our lock.
Status CheckFolder(const std::string& store) {
  std::error_code error;
  if (Exists(store + "/tree")) return OkStatus();
  for (const auto& entry : files::directory_iterator(store, error))
    if (entry.path().filename() != "lock")
      return {Error::kUsage, store +
                                 " is not a Keyfold store, nor empty. Name the store's "
                                 "folder, or put its copy in place first."};
  return error ? Status(Error::kSystem, store + ": " + error.message()) : OkStatus();
}

// ConfigFor is the store's own configuration if it has one, since its root key may be
// sealed otherwise by now; else the backup's, which `*missing` tells.
Result<StoreConfig> ConfigFor(const std::string& store, const StoreConfig& of_backup,
                              bool* missing) {
  auto config = ReadStoreConfig(store);
  *missing = config.status().error() == Error::kNotAStore ||
             config.status().error() == Error::kCorrupt;
  if (config.status().error() == Error::kNotAStore)
    KF_RETURN_IF_ERROR(CheckFolder(store));
  if (*missing) return of_backup;
  if (!config.ok()) return config;
  if (config->account.store_id != of_backup.account.store_id)
    return Status(Error::kUsage, "The backup is another store's (" +
                                     of_backup.account.store_id + "); " + store +
                                     " is " + config->account.store_id + ".");
  return config;
}

// KeepFormer leaves the former key store under another name too. Its journal, if a
// transaction was cut off, belongs to it and must not be taken for the new one's.
Status KeepFormer(const std::string& keys, const std::string& kept) {
  if (!Exists(keys)) return OkStatus();
  KF_RETURN_IF_ERROR(KeepLinked(keys, kept));
  const std::string journal = keys + "-journal";
  if (Exists(journal)) KF_RETURN_IF_ERROR(Rename(journal, kept + "-journal"));
  return OkStatus();
}

// PutInPlace puts the new files in place; the key store's own renaming is the moment
// when the restore has happened. A lost log goes before it: without one the former key
// store was of no use.
Status PutInPlace(const std::string& store, const Fresh& fresh,
                  const std::string& behind, bool new_log) {
  const std::string keys = store + "/" + kStoreFile, audit = store + "/" + kAudit;
  KF_RETURN_IF_ERROR(KeepFormer(keys, keys + behind));
  if (new_log) {
    KF_RETURN_IF_ERROR(SyncFolder(fresh.audit()));
    if (Exists(audit)) KF_RETURN_IF_ERROR(Rename(audit, audit + behind));
    KF_RETURN_IF_ERROR(Rename(fresh.audit(), audit));
  }
  KF_RETURN_IF_ERROR(SyncFolder(store));
  KF_RETURN_IF_ERROR(Rename(fresh.keys(), keys));
  return SyncFolder(store);
}

}  // namespace

Result<RestoredStore> RestoreStore(const RestoreRequest& request,
                                   const PassphrasePrompt& prompt) {
  KF_ASSIGN_OR_RETURN(const std::string backup, ReadTextFile(request.file, kMaxBackup));
  KF_ASSIGN_OR_RETURN(const BackupDescription description,
                      DescribeBackup(AsBytes(backup)));
  KF_ASSIGN_OR_RETURN(const StoreConfig of_backup,
                      ParseStoreConfig(description.configuration, request.file));
  const auto real = RealPath(request.store);
  if (!real.ok() || !files::is_directory(*real))
    return Status(Error::kUsage, request.store +
                                     " is not a folder. Put the store's copy in place "
                                     "first, or make an empty folder.");
  const std::string store = *real;
  bool no_config = false;
  // In a wrong folder not even a lock is made.
  KF_RETURN_IF_ERROR(ConfigFor(store, of_backup, &no_config).status());
  KF_ASSIGN_OR_RETURN(const StoreLock lock, StoreLock::Take(store));
  KF_ASSIGN_OR_RETURN(const StoreConfig config,
                      ConfigFor(store, of_backup, &no_config));
  KF_RETURN_IF_ERROR(FinishRotation(store, config));
  KF_ASSIGN_OR_RETURN(const RootKey root,
                      UnsealRootKey(config.root_key, request.root_key, prompt));

  const Fresh fresh(store);
  RestoreOptions options;
  options.audit_folder = store + "/" + kAudit;
  if (request.new_audit_log) {
    options.new_log = fresh.audit();
    if (::mkdir(options.new_log.c_str(), 0700) != 0)
      return Status::FromErrno(errno, options.new_log);
    KF_ASSIGN_OR_RETURN(const UniqueFd made,
                        OpenAt(AT_FDCWD, options.new_log, O_RDONLY | O_DIRECTORY));
    KF_RETURN_IF_ERROR(GiveToOwnerOfParent(options.new_log, made.get()));
  }
  options.metadata_key = config.metadata_key;
  options.metadata_context = MetadataContext(config.account.store_id);
  options.caller = WhoeverRunsThis();
  options.check_only = request.check_only;
  // Opening it also finishes what was cut off, if it can be.
  auto former = OpenSqliteKeyStore(store + "/" + kStoreFile);
  if (former.status().error() == Error::kNewerFormat) return former.status();
  if (former.ok()) options.former = std::move(former).value();
  KF_ASSIGN_OR_RETURN(auto keys, CreateSqliteKeyStore(fresh.keys()));
  RestoredStore out;
  KF_ASSIGN_OR_RETURN(out.keys, RestoreKeyStore(std::move(keys), root, AsBytes(backup),
                                                std::move(options), Clock::System()));
  if (request.check_only) return out;
  const std::string behind = KeptName(store, {kStoreFile, kAudit}, "restore");
  if (Exists(store + "/" + kStoreFile)) out.kept = kStoreFile + behind;
  KF_RETURN_IF_ERROR(PutInPlace(store, fresh, behind, request.new_audit_log));
  if (no_config) KF_RETURN_IF_ERROR(WriteStoreConfig(store, config));
  return out;
}

}  // namespace keyfold
