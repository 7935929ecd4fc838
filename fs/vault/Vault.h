// Vault: an encrypted tree. Folders with encrypted names and a CMK each; files
// with a DEK each; handles bound to who opened them.
//
// Owns: naming, binding and content cryptography, authorization at open,
// revocation. Must not know: FUSE, sockets, how keys are kept. Thread-safe.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/backend/Backend.h"
#include "fs/vault/File.h"
#include "fs/vault/Folder.h"
#include "fs/vault/OpenFiles.h"
#include "fs/vault/VaultKeys.h"
#include "kms/base/Status.h"
#include "kms/service/DataKeys.h"
#include "kms/service/FileView.h"

namespace keyfold {

inline constexpr char kAccessAcl[] = "system.posix_acl_access";
inline constexpr char kDefaultAcl[] = "system.posix_acl_default";

struct VaultOptions {
  std::string tree_path;  // STORE/tree
  std::string store_id;   // UUID
  // Where it counts what is open and unlocked.
  std::shared_ptr<FileCounts> counts = std::make_shared<FileCounts>();
};

// User is who asks; `groups` looks up the supplementary groups that count when
// something is created, `umask` is what is taken from its mode.
struct User {
  Caller caller;
  std::function<std::vector<gid_t>()> groups;
  mode_t umask = 0;

  FsIdentity identity() const { return {caller.uid, caller.gid, groups, umask}; }
};

// Place is one name of an object: its folder and its plain name there.
struct Place {
  std::shared_ptr<Folder> folder;
  std::string name;
};

// PageCache is what keeps a file's plaintext outside the vault: the kernel.
class PageCache {
 public:
  virtual ~PageCache() = default;
  // Detach makes later lookups of the file see it as another one. Called under
  // a lock; must not wait.
  virtual void Detach(ino_t ino) = 0;
  // Drop hands back what was written and forgets the rest; may wait for writes.
  virtual void Drop(ino_t ino) = 0;
  // DropAll does so with every file, also those that nobody has open.
  virtual void DropAll() = 0;
};

class Vault {
 public:
  // CreateTree makes the root folder of a new store, bound to `key_id`.
  static Status CreateTree(const VaultOptions& options, const MetadataKey& key,
                           const std::string& key_id);
  // Open opens the tree. kCorrupt, on record, when the root folder does not
  // authenticate.
  static Result<std::unique_ptr<Vault>> Open(const VaultOptions& options,
                                             const MetadataKey& key, DataKeys& keys);
  ~Vault();

  const std::shared_ptr<Folder>& root() const { return root_; }
  DataKeys& keys() { return keys_; }
  FileCounts& counts() { return *options_.counts; }

  // Find returns an O_PATH descriptor of the object at `place` and its stat,
  // with st_size as seen on the mount. kSystem/ENOENT when there is none,
  // kSystem/EAGAIN while Revoke works on it.
  Result<UniqueFd> Find(const Place& place, struct stat* st);
  Status Stat(int fd, struct stat* st);
  // ClearSetId takes the set-user-id bit, and a set-group-id bit that is one,
  // from a file whose contents someone without privilege changes.
  Status ClearSetId(int fd);
  // List calls `visit` with each entry's plain name, d_type and backing offset;
  // it stops when `visit` returns false. `dir` is an open directory stream.
  Status List(
      const Folder& folder, DIR* dir, off_t from,
      const std::function<bool(const std::string&, const struct dirent&)>& visit);

  // OpenFolder's errors are CheckBinding's.
  Result<std::shared_ptr<Folder>> OpenFolder(const Place& place, int fd);
  Status MakeFolder(const Place& place, mode_t mode, const User& user);
  Status RemoveFolder(const Place& place);
  // SetFolderKey binds the folder to another CMK, for files made from then on.
  // kCorrupt unless `place` is its name; kSystem/EBUSY when someone else changed
  // the key meanwhile.
  Status SetFolderKey(const Place& place, Folder& folder, const std::string& key,
                      const Caller& caller, const std::string& path);

  struct NewlyMade {
    std::shared_ptr<Handle> handle;
    UniqueFd fd;  // O_PATH
    struct stat st;
  };
  // Create makes a file and opens it for writing.
  Result<NewlyMade> Create(const Place& place, mode_t mode, const User& user,
                           const std::string& path);
  // OpenFile authorizes `caller` on the CMK in the file's header. `fd` is the
  // object's O_PATH descriptor, `place` the name that led to it. kSystem/EAGAIN
  // while Revoke works on the file: it is then not to be waited for by a thread
  // that serves write-back.
  Result<std::shared_ptr<Handle>> OpenFile(const Place& place, int fd,
                                           const Caller& caller, KeyUse use,
                                           const std::string& path,
                                           const char* event = "OpenFile");
  // Close leaves to `settle_later` (SetSettler) what takes long.
  void Close(const std::shared_ptr<Handle>& handle) noexcept;
  // SetSettler says who calls Settle for files that were closed; by default Close does
  // so itself.
  void SetSettler(std::function<void(std::shared_ptr<File>)> settle_later) {
    settle_later_ = std::move(settle_later);
  }
  void Settle(const std::shared_ptr<File>& file) noexcept;
  // HasWriters tells whether someone has the file open for writing.
  bool HasWriters(const std::shared_ptr<File>& file) const;
  // Hold stores the header of the file if it is open, and runs `action` while nothing
  // is written to the backing file but by writing to the file.
  Status Hold(ino_t ino, const std::function<Status()>& action);
  Status SetFileKey(const Place& place, int fd, const std::string& key,
                    const Caller& caller, const std::string& path);
  // RefreshKey wraps the file's data key under the newest version of its CMK, if it is
  // not, for who has opened it for writing. It reaches disk with what is written next.
  void RefreshKey(const Handle& handle);
  // BeginReencrypt gives an open file another data key under the same CMK, for who
  // opened it for writing, or goes on with what was begun; File::Reencrypt does the
  // rest. On record as ReencryptFile.
  Status BeginReencrypt(const Handle& handle);
  // KeyOf is what the file's header says of its keys, unauthenticated.
  struct KeyInfo {
    std::string key_id;       // of the CMK
    bool current = true;      // wrapped under the CMK's newest version
    bool reencrypts = false;  // some contents are under a former data key
    std::string data_key_id;  // 32 hexadecimal digits that only this data key has
  };
  Result<KeyInfo> KeyOf(int fd);
  // CheckBinding is kCorrupt unless `place` is a name the file was given;
  // kSystem/ESTALE if it no longer leads to it.
  Status CheckBinding(const Place& place, int fd);

  // Unlink calls `gone` with the object's inode while its bindings are intact.
  Status Unlink(const Place& place, const std::function<void(ino_t)>& gone);
  Status Link(const Place& from, int fd, const Place& to, const User& user);
  // Moved tells who has which name now.
  struct Moved {
    ino_t object = 0;  // what was at `from`, now at `to`
    ino_t other = 0;   // what was at `to`: at `from` after an exchange, else gone
    bool exchanged = false;
    UniqueFd new_object;  // valid when a symbolic link was made anew
    UniqueFd new_other;
  };
  // Rename calls `moved` while both names of each object are still good.
  Status Rename(const Place& from, const Place& to, unsigned flags,
                const std::function<void(Moved&)>& moved);
  Status MakeNode(const Place& place, mode_t mode, dev_t device, const User& user);
  Status MakeSymlink(const Place& place, const std::string& target, const User& user);
  Result<std::string> ReadSymlink(const Place& place, int fd);

  // User extended attributes; names without the "user." prefix.
  Result<Bytes> GetUserXattr(int fd, const std::string& name);
  Status SetUserXattr(int fd, const std::string& name, ByteView value, int flags);
  Status RemoveUserXattr(int fd, const std::string& name);
  // ListXattrs returns whole names, access control lists included.
  Result<std::vector<std::string>> ListXattrs(int fd);

  // Access control lists, kAccessAcl and kDefaultAcl, are the backing object's
  // own, so that the backing filesystem decides as the mount does. A filesystem
  // without them answers kSystem/EOPNOTSUPP to SetAcl; there is then none to get.
  bool HasAcls() const;
  Result<Bytes> GetAcl(int fd, const std::string& name);
  // SetAcl takes the set-group-id bit if `user`, the object's owner, is not in
  // its group.
  Status SetAcl(int fd, const std::string& name, ByteView value, const User& user);
  Status RemoveAcl(int fd, const std::string& name);

  // Revoke re-examines every open handle. A file of which any handle lost its
  // right is dropped from `cache`, its other handles go stale, and its keys are
  // wiped. When the KMS forgot every key, the pages of closed files go too. Called
  // from one thread.
  void Revoke(PageCache& cache);
  // ListHandles tells what is open, all or by one user, as much as there is room for.
  OpenHandles ListHandles(std::optional<uid_t> only) const;
  // FlushAll writes back what lags behind, and SettleAll what is left when nothing
  // will be written any more. They wait for the disk.
  void FlushAll();
  void SettleAll();
  // WipeAll forgets the data keys of files that are still open, when no handle reaches
  // them any more: a mount may end before them.
  void WipeAll();
  // Checkpoint makes all that was written until now survive power loss, if there is
  // anything. Called from one thread, as SettleAll is.
  Status Checkpoint();
  Status StatFs(struct statvfs* out);

 private:
  static constexpr std::string_view kFileMoved =
      "the file was moved here in the backing store";
  static constexpr std::string_view kFolderMoved =
      "the folder was moved here in the backing store";

  Vault(const VaultOptions& options, const MetadataKey& key, DataKeys& keys,
        std::unique_ptr<Checkpoints> checkpoints);

  Status SyncTree();
  EncryptionContext ContextOf(const FileIdentity& file) const;
  bool LoseRights(const std::shared_ptr<File>& file);
  Status Unlock(const Handle& handle, const File::ClaimedHeader& claimed,
                const FileEvent& event);
  Status StillAdmitted(const Handle& handle, const std::string& key_id,
                       const EncryptionContext& context, const FileEvent& event);
  Status Admit(const std::shared_ptr<Handle>& handle, const Place& place, int fd,
               bool linked, const FileEvent& event);
  Status Unbind(const Place& place, int fd);
  // Bound gives what `read` reads of an object: its id and names, of which `place` must
  // be one. It is read again while no name changes, lest a rename was under way.
  template <typename Read>
  auto Bound(const Place& place, int fd, std::string_view damage, Read&& read)
      -> decltype(read()) {
    const auto is_bound = [&](const auto& object) {
      return HasBinding(object.bindings,
                        vault_keys_.Bind(object.id, place.folder->id(), place.name));
    };
    auto object = read();
    if (!object.ok() || is_bound(*object)) return object;
    std::lock_guard lock(names_mutex_);
    object = read();
    if (!object.ok() || is_bound(*object)) return object;
    return NotBound(place, fd, damage);
  }
  Result<FileNames> BoundNames(const Place& place, int fd);
  Status NotBound(const Place& place, int fd, std::string_view damage);

  const VaultOptions options_;
  const VaultKeys vault_keys_;
  DataKeys& keys_;
  const std::unique_ptr<Checkpoints> checkpoints_;
  std::shared_ptr<Folder> root_;
  dev_t device_ = 0;  // of the store's filesystem
  OpenFiles files_;
  std::function<void(std::shared_ptr<File>)> settle_later_;
  uint64_t times_wiped_ = 0;  // as Revoke saw it last
  std::mutex names_mutex_;    // held while bindings are read, changed and written
};

// Closing closes a handle at its end, unless it is kept.
class Closing {
 public:
  Closing(Vault& vault, std::shared_ptr<Handle> handle)
      : vault_(vault), handle_(std::move(handle)) {}
  ~Closing() {
    if (handle_) vault_.Close(handle_);
  }
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  void Keep() { handle_.reset(); }

 private:
  Vault& vault_;
  std::shared_ptr<Handle> handle_;
};

}  // namespace keyfold
