#include "fs/vault/Vault.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>

#include "fs/vault/Errno.h"
#include "kms/service/OwnProcess.h"

namespace keyfold {

Vault::Vault(const VaultOptions& options, const MetadataKey& key, DataKeys& keys,
             std::unique_ptr<Checkpoints> checkpoints)
    : options_(options),
      vault_keys_(key, options.store_id),
      keys_(keys),
      checkpoints_(std::move(checkpoints)),
      files_(*checkpoints_, *options_.counts) {}

Vault::~Vault() = default;

Status Vault::CreateTree(const VaultOptions& options, const MetadataKey& key,
                         const std::string& key_id) {
  const VaultKeys keys(key, options.store_id);
  if (::mkdir(options.tree_path.c_str(), 0700) != 0)
    return Status::FromErrno(errno, "mkdir " + options.tree_path);
  if (::chmod(options.tree_path.c_str(), 0755) != 0)
    return Status::FromErrno(errno, "chmod " + options.tree_path);
  const int fd = ::open(options.tree_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, "open " + options.tree_path);
  const UniqueFd folder(fd);
  FolderDescriptor descriptor;
  descriptor.id = NewId<FolderId>();
  descriptor.key_id = key_id;
  descriptor.bindings = {keys.Bind(descriptor.id, FolderId{}, "")};
  KF_RETURN_IF_ERROR(WriteFolderDescriptor(keys, fd, descriptor));
  if (::fsync(fd) != 0) return Status::FromErrno(errno, "fsync " + options.tree_path);
  return OkStatus();
}

Result<std::unique_ptr<Vault>> Vault::Open(const VaultOptions& options,
                                           const MetadataKey& key, DataKeys& keys) {
  KF_ASSIGN_OR_RETURN(auto checkpoints, Checkpoints::Open(keys));
  std::unique_ptr<Vault> vault(new Vault(options, key, keys, std::move(checkpoints)));
  auto folder = OpenAt(AT_FDCWD, options.tree_path, O_PATH | O_DIRECTORY);
  if (!folder.ok())
    return Status::FromErrno(folder.status().sys_errno(), "open " + options.tree_path);
  auto descriptor = ReadFolderDescriptor(vault->vault_keys_, folder->get());
  if (descriptor.ok() &&
      !HasBinding(descriptor->bindings,
                  vault->vault_keys_.Bind(descriptor->id, FolderId{}, "")))
    descriptor = Status(Error::kCorrupt, "the tree's root is another store's folder");
  if (!descriptor.ok()) {
    if (IsDamage(descriptor.status()))
      (void)keys.RecordFileEvent(OwnProcess(), "", {"OpenFolder", "/", KeyUse::kRead},
                                 descriptor.status());
    return descriptor.status();
  }
  struct stat st;
  if (::fstatat(folder->get(), "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "open " + options.tree_path);
  vault->device_ = st.st_dev;
  vault->root_ =
      std::make_shared<Folder>(vault->vault_keys_, std::move(*folder), *descriptor);
  // What a daemon that was killed wrote may lie in the kernel's cache only, and headers
  // among it say what may be written over.
  KF_RETURN_IF_ERROR(vault->SyncTree());
  return vault;
}

Status Vault::Stat(int fd, struct stat* st) {
  if (::fstatat(fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0)
    return Status::FromErrno(errno, "stat");
  if (S_ISREG(st->st_mode)) {
    st->st_size = static_cast<off_t>(PlainSize(static_cast<uint64_t>(st->st_size)));
  } else if (S_ISLNK(st->st_mode)) {
    const size_t sealed = static_cast<size_t>(st->st_size) * 3 / 4;
    st->st_size = sealed > kSivTagSize ? static_cast<off_t>(sealed - kSivTagSize) : 0;
  }
  return OkStatus();
}

Status Vault::ClearSetId(int fd) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  mode_t mode = st.st_mode & ~static_cast<mode_t>(S_ISUID);
  if (mode & S_IXGRP) mode &= ~static_cast<mode_t>(S_ISGID);
  if (mode == st.st_mode) return OkStatus();
  if (::chmod(FdPath(fd).c_str(), mode & 07777) != 0)
    return Status::FromErrno(errno, "chmod");
  return OkStatus();
}

Result<UniqueFd> Vault::Find(const Place& place, struct stat* st) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(place.folder->fd(), backing, O_PATH));
  KF_RETURN_IF_ERROR(Stat(fd.get(), st));
  // Inode numbers are those of one filesystem.
  if (st->st_dev != device_) return Status(Error::kCorrupt, "mounted into the store");
  if (S_ISREG(st->st_mode) && files_.IsRevoking(st->st_ino))
    return Status::FromErrno(EAGAIN, "lookup");
  return fd;
}

Status Vault::List(
    const Folder& folder, DIR* dir, off_t from,
    const std::function<bool(const std::string&, const struct dirent&)>& visit) {
  if (::telldir(dir) != from) ::seekdir(dir, from);
  for (;;) {
    errno = 0;
    const struct dirent* entry = ::readdir(dir);
    if (entry == nullptr)
      return errno == 0 ? OkStatus() : Status::FromErrno(errno, "readdir");
    const std::string backing = entry->d_name;
    std::optional<std::string> name;
    if (backing == "." || backing == "..")
      name = backing;
    else if (backing[0] != '.')
      name = folder.PlainName(backing);
    // What does not decrypt here is not of this folder.
    if (name && !visit(*name, *entry)) return OkStatus();
  }
}

Result<std::shared_ptr<Folder>> Vault::OpenFolder(const Place& place, int fd) {
  KF_ASSIGN_OR_RETURN(UniqueFd folder, OpenAt(fd, ".", O_PATH | O_DIRECTORY));
  KF_ASSIGN_OR_RETURN(FolderDescriptor descriptor,
                      Bound(place, folder.get(), kFolderMoved, [&] {
                        return ReadFolderDescriptor(vault_keys_, folder.get());
                      }));
  return std::make_shared<Folder>(vault_keys_, std::move(folder),
                                  std::move(descriptor));
}

Status Vault::MakeFolder(const Place& place, mode_t mode, const User& user) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  const int parent = place.folder->fd();
  const std::string temporary = TemporaryName();
  KF_RETURN_IF_ERROR(MakeAs(user.identity(), false, [&] {
    return ::mkdirat(parent, temporary.c_str(), mode) == 0
               ? OkStatus()
               : Status::FromErrno(errno, "mkdir");
  }));
  FolderDescriptor descriptor;
  descriptor.id = NewId<FolderId>();
  descriptor.key_id = place.folder->key_id();
  descriptor.bindings = {
      vault_keys_.Bind(descriptor.id, place.folder->id(), place.name)};
  // The attribute is journaled before the rename that publishes the folder.
  auto fd = OpenAt(parent, temporary, O_PATH | O_DIRECTORY);
  Status status =
      fd.ok() ? WriteFolderDescriptor(vault_keys_, fd->get(), descriptor) : fd.status();
  if (status.ok()) status = place.folder->KeepLongName(backing, place.name);
  if (status.ok() && ::renameat2(parent, temporary.c_str(), parent, backing.c_str(),
                                 RENAME_NOREPLACE) != 0)
    status = Status::FromErrno(errno, "mkdir");
  if (!status.ok()) (void)::unlinkat(parent, temporary.c_str(), AT_REMOVEDIR);
  return status;
}

Status Vault::RemoveFolder(const Place& place) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  const int parent = place.folder->fd();
  int result = ::unlinkat(parent, backing.c_str(), AT_REMOVEDIR);
  if (result != 0 && errno == ENOTEMPTY) {
    KF_ASSIGN_OR_RETURN(const UniqueFd fd,
                        OpenAt(parent, backing, O_PATH | O_DIRECTORY));
    Folder::SweepLeftovers(fd.get());
    result = ::unlinkat(parent, backing.c_str(), AT_REMOVEDIR);
  }
  if (result != 0) return Status::FromErrno(errno, "rmdir");
  place.folder->DropLongName(backing);
  return OkStatus();
}

Status Vault::SetFolderKey(const Place& place, Folder& folder, const std::string& key,
                           const Caller& caller, const std::string& path) {
  KF_ASSIGN_OR_RETURN(const std::string key_id, keys_.ResolveKey(key));
  // Who binds a folder must be able to use the new key, and, so that no one
  // takes a folder away from its key, the old one too.
  const EncryptionContext context = {{std::string(kContextStore), options_.store_id},
                                     {std::string(kContextFolder), folder.id().Hex()}};
  const FileEvent event{"SetFolderKey", path, KeyUse::kWrite};
  const std::string old_key_id = folder.key_id();
  KF_RETURN_IF_ERROR(keys_.Authorize(caller, old_key_id, context, event));
  KF_RETURN_IF_ERROR(keys_.Authorize(caller, key_id, context, event));
  const Binding expected =
      place.folder ? vault_keys_.Bind(folder.id(), place.folder->id(), place.name)
                   : vault_keys_.Bind(folder.id(), FolderId{}, "");
  std::lock_guard lock(names_mutex_);
  // Another key than the one the caller has just been judged by.
  if (folder.key_id() != old_key_id) return Status::FromErrno(EBUSY, "set-key");
  // A rename may have given the folder another name, or be about to finish: its
  // bindings are its own.
  KF_ASSIGN_OR_RETURN(FolderDescriptor descriptor,
                      ReadFolderDescriptor(vault_keys_, folder.fd()));
  if (descriptor.id != folder.id())
    return Status(Error::kCorrupt, std::string(kFolderMoved));
  if (!HasBinding(descriptor.bindings, expected))
    return NotBound(place, folder.fd(), kFolderMoved);
  descriptor.key_id = key_id;
  KF_RETURN_IF_ERROR(WriteFolderDescriptor(vault_keys_, folder.fd(), descriptor));
  // It is there, whether or not it can be synced.
  folder.set_key_id(key_id);
  return SyncFolder(folder.fd());
}

Status Vault::StatFs(struct statvfs* out) {
  if (::fstatvfs(root_->fd(), out) != 0) return Status::FromErrno(errno, "statfs");
  out->f_namemax = 255;
  return OkStatus();
}

}  // namespace keyfold
