#include "fs/vault/Vault.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include <algorithm>

namespace keyfold {
namespace {

constexpr char kTempPrefix[] = ".keyfold-new-";

std::string KeyIdOrEmpty(const Result<std::shared_ptr<File>>& file) {
  return file.ok() ? (*file)->header().key_id : std::string();
}

int RenameAt(int from, const std::string& name, int to, const std::string& new_name,
             unsigned flags) {
  return ::renameat2(from, name.c_str(), to, new_name.c_str(), flags);
}

}  // namespace

Vault::Vault(const VaultOptions& options, const MetadataKey& key, DataKeys& keys)
    : options_(options), vault_keys_(key, options.store_id), keys_(keys) {}

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
  std::unique_ptr<Vault> vault(new Vault(options, key, keys));
  const int fd = ::open(options.tree_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return Status::FromErrno(errno, "open " + options.tree_path);
  UniqueFd folder(fd);
  KF_ASSIGN_OR_RETURN(FolderDescriptor descriptor,
                      ReadFolderDescriptor(vault->vault_keys_, fd));
  const Binding expected = vault->vault_keys_.Bind(descriptor.id, FolderId{}, "");
  if (!HasBinding(descriptor.bindings, expected))
    return Status(Error::kCorrupt, "the tree's root is another store's folder");
  vault->root_ = std::make_shared<Folder>(vault->vault_keys_, std::move(folder), descriptor);
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

Result<UniqueFd> Vault::Find(const Place& place, struct stat* st) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(place.folder->fd(), backing, O_PATH));
  KF_RETURN_IF_ERROR(Stat(fd.get(), st));
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
    if (backing == "." || backing == "..") name = backing;
    else if (backing[0] != '.') name = folder.PlainName(backing);
    // What does not decrypt here is not of this folder.
    if (name && !visit(*name, *entry)) return OkStatus();
  }
}

Result<std::shared_ptr<Folder>> Vault::OpenFolder(const Place& place, int fd) {
  const int real = ::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (real < 0) return Status::FromErrno(errno, "open folder");
  UniqueFd folder(real);
  KF_ASSIGN_OR_RETURN(FolderDescriptor descriptor,
                      ReadFolderDescriptor(vault_keys_, real));
  const Binding expected = vault_keys_.Bind(descriptor.id, place.folder->id(), place.name);
  if (!HasBinding(descriptor.bindings, expected))
    return Status(Error::kCorrupt, "the folder was moved here in the backing store");
  return std::make_shared<Folder>(vault_keys_, std::move(folder), std::move(descriptor));
}

Status Vault::MakeFolder(const Place& place, mode_t mode, const User& user) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  const int parent = place.folder->fd();
  const std::string temp = kTempPrefix + RandomUuid();
  {
    AsCaller as(user.caller.uid, user.caller.gid, user.groups);
    if (::mkdirat(parent, temp.c_str(), mode) != 0) return Status::FromErrno(errno, "mkdir");
  }
  FolderDescriptor descriptor;
  descriptor.id = NewId<FolderId>();
  descriptor.key_id = place.folder->key_id();
  descriptor.bindings = {vault_keys_.Bind(descriptor.id, place.folder->id(), place.name)};
  // The attribute is journaled before the rename that publishes the folder.
  Status status = OkStatus();
  auto fd = OpenAt(parent, temp, O_PATH | O_DIRECTORY);
  status = fd.ok() ? WriteFolderDescriptor(vault_keys_, fd->get(), descriptor)
                   : fd.status();
  if (status.ok()) status = place.folder->KeepLongName(backing, place.name);
  if (status.ok() && RenameAt(parent, temp, parent, backing, RENAME_NOREPLACE) != 0)
    status = Status::FromErrno(errno, "mkdir");
  if (!status.ok()) (void)::unlinkat(parent, temp.c_str(), AT_REMOVEDIR);
  return status;
}

Status Vault::RemoveFolder(const Place& place) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  if (::unlinkat(place.folder->fd(), backing.c_str(), AT_REMOVEDIR) != 0)
    return Status::FromErrno(errno, "rmdir");
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
  KF_RETURN_IF_ERROR(keys_.Authorize(caller, folder.key_id(), context, event));
  KF_RETURN_IF_ERROR(keys_.Authorize(caller, key_id, context, event));
  FolderDescriptor descriptor;
  descriptor.id = folder.id();
  descriptor.key_id = key_id;
  descriptor.bindings = {place.folder
                             ? vault_keys_.Bind(folder.id(), place.folder->id(), place.name)
                             : vault_keys_.Bind(folder.id(), FolderId{}, "")};
  KF_RETURN_IF_ERROR(WriteFolderDescriptor(vault_keys_, folder.fd(), descriptor));
  if (::fsync(folder.fd()) != 0) return Status::FromErrno(errno, "fsync");
  folder.set_key_id(key_id);
  return OkStatus();
}

EncryptionContext Vault::ContextOf(const File& file) const {
  const HeaderSlot header = file.header();
  return {{std::string(kContextStore), options_.store_id},
          {std::string(kContextFolder), header.home_folder.Hex()},
          {std::string(kContextFile), header.file_id.Hex()}};
}

Result<std::shared_ptr<Handle>> Vault::Create(const Place& place, mode_t mode,
                                              const User& user, KeyUse use,
                                              const std::string& path) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  HeaderSlot header;
  header.file_id = NewId<FileId>();
  header.home_folder = place.folder->id();
  const EncryptionContext context = {{std::string(kContextStore), options_.store_id},
                                     {std::string(kContextFolder), header.home_folder.Hex()},
                                     {std::string(kContextFile), header.file_id.Hex()}};
  const std::string key_id = place.folder->key_id();
  KF_RETURN_IF_ERROR(
      keys_.Authorize(user.caller, key_id, context, {"CreateFile", path, KeyUse::kCreate}));
  KF_ASSIGN_OR_RETURN(WrappedDataKey wrapped,
                      keys_.GenerateDataKey(user.caller, key_id, context, path));
  header.key_id = wrapped.key_id;
  header.blob = std::move(wrapped.blob);

  KF_RETURN_IF_ERROR(place.folder->KeepLongName(backing, place.name));
  UniqueFd fd;
  {
    AsCaller as(user.caller.uid, user.caller.gid, user.groups);
    KF_ASSIGN_OR_RETURN(fd, OpenAt(place.folder->fd(), backing,
                                   O_RDWR | O_CREAT | O_EXCL, mode & 07777));
  }
  FileNames names;
  names.id = header.file_id;
  names.bindings = {vault_keys_.Bind(names.id, place.folder->id(), place.name)};
  struct stat st;
  Status status = OkStatus();
  if (::fstat(fd.get(), &st) != 0) status = Status::FromErrno(errno, "stat");
  if (status.ok()) status = WriteFileNames(fd.get(), names);
  std::shared_ptr<File> file;
  if (status.ok()) {
    auto created = File::Create(std::move(fd), st.st_ino, header, std::move(wrapped.key));
    if (created.ok()) file = std::move(*created);
    else status = created.status();
  }
  if (!status.ok()) {
    (void)::unlinkat(place.folder->fd(), backing.c_str(), 0);
    return status;
  }
  auto handle = std::make_shared<Handle>();
  handle->file = file;
  handle->caller = user.caller;
  handle->use = use;
  handle->path = path;
  std::lock_guard lock(files_mutex_);
  files_[st.st_ino] = file;
  std::lock_guard handles(file->handles_mutex);
  file->handles.push_back(handle);
  return handle;
}

Result<std::shared_ptr<File>> Vault::Load(ino_t ino, int fd) {
  {
    std::lock_guard lock(files_mutex_);
    const auto it = files_.find(ino);
    if (it != files_.end()) return it->second;
  }
  auto real = Reopen(fd, O_RDWR | O_NONBLOCK | O_NOATIME);
  if (!real.ok()) real = Reopen(fd, O_RDWR | O_NONBLOCK);
  if (!real.ok()) real = Reopen(fd, O_RDONLY | O_NONBLOCK);
  if (!real.ok()) return real.status();
  KF_ASSIGN_OR_RETURN(auto fresh, File::Inspect(std::move(*real), ino));
  std::lock_guard lock(files_mutex_);
  return files_.emplace(ino, std::move(fresh)).first->second;
}

Status Vault::CheckBinding(const Place& place, int fd) {
  KF_ASSIGN_OR_RETURN(const FileNames names, ReadFileNames(fd));
  const Binding expected = vault_keys_.Bind(names.id, place.folder->id(), place.name);
  if (!HasBinding(names.bindings, expected))
    return Status(Error::kCorrupt, "the file was moved here in the backing store");
  return OkStatus();
}

Result<std::shared_ptr<Handle>> Vault::OpenFile(const Place& place, int fd,
                                                const Caller& caller, KeyUse use,
                                                const std::string& path,
                                                const char* event_name) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0) return Status::FromErrno(errno, "stat");
  if (!S_ISREG(st.st_mode)) return Status::FromErrno(EINVAL, "open");
  const FileEvent event{event_name, path, use};
  auto loaded = Load(st.st_ino, fd);
  auto refuse = [&](const Status& status) {
    if (status.error() == Error::kCorrupt || status.error() == Error::kInvalidCiphertext ||
        status.error() == Error::kIncorrectKey)
      (void)keys_.RecordFileEvent(caller, KeyIdOrEmpty(loaded), event, status);
    return status;
  };
  if (!loaded.ok()) return refuse(loaded.status());
  const std::shared_ptr<File> file = *loaded;

  auto handle = std::make_shared<Handle>();
  handle->file = file;
  handle->caller = caller;
  handle->use = use;
  handle->path = path;
  // Registered before the check, so that a right lost meanwhile is noticed.
  {
    std::lock_guard lock(file->handles_mutex);
    file->handles.push_back(handle);
  }
  auto give_up = [&](const Status& status) {
    Close(handle);
    return refuse(status);
  };
  // A file without links has no name that could be wrong.
  if (st.st_nlink > 0) {
    const Status bound = CheckBinding(place, fd);
    if (!bound.ok()) return give_up(bound);
    auto names = ReadFileNames(fd);
    if (!names.ok() || names->id != file->header().file_id)
      return give_up(Status(Error::kCorrupt, "the file's header is another file's"));
  }
  const EncryptionContext context = ContextOf(*file);
  const Status allowed = keys_.Authorize(caller, file->header().key_id, context, event);
  if (!allowed.ok()) return give_up(allowed);
  if (!file->unlocked()) {
    auto dek = keys_.UnwrapDataKey(caller, file->header().blob, context, path);
    if (!dek.ok()) return give_up(dek.status());
    const Status unlocked = file->Unlock(*dek);
    if (!unlocked.ok()) return give_up(unlocked);
  }
  if (handle->lost_errno != 0)
    return give_up(Status::FromErrno(handle->lost_errno, "open"));
  return handle;
}

void Vault::Close(const std::shared_ptr<Handle>& handle) {
  const std::shared_ptr<File> file = handle->file;
  std::lock_guard lock(files_mutex_);
  {
    std::lock_guard handles(file->handles_mutex);
    std::erase(file->handles, handle);
    if (!file->handles.empty()) return;
  }
  (void)file->WriteHeader();
  file->Wipe();
  const auto it = files_.find(file->ino());
  if (it != files_.end() && it->second == file) files_.erase(it);
}

Result<std::string> Vault::FileKey(int fd) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0) return Status::FromErrno(errno, "stat");
  KF_ASSIGN_OR_RETURN(UniqueFd real, Reopen(fd, O_RDONLY | O_NONBLOCK));
  KF_ASSIGN_OR_RETURN(auto file, File::Inspect(std::move(real), st.st_ino));
  return file->header().key_id;
}

Status Vault::SetFileKey(const Place& place, int fd, const std::string& key,
                         const Caller& caller, const std::string& path) {
  KF_ASSIGN_OR_RETURN(const std::string key_id, keys_.ResolveKey(key));
  KF_ASSIGN_OR_RETURN(auto handle,
                      OpenFile(place, fd, caller, KeyUse::kWrite, path, "SetFileKey"));
  const EncryptionContext context = ContextOf(*handle->file);
  auto wrapped = keys_.RewrapDataKey(caller, handle->file->header().blob, context, key_id,
                                     context, path);
  Status status = wrapped.status();
  if (wrapped.ok()) status = handle->file->Rewrap(wrapped->key_id, wrapped->blob);
  Close(handle);
  return status;
}

Status Vault::BindAlso(int fd, const Place& place, bool keep_others, const Place* drop) {
  KF_ASSIGN_OR_RETURN(FileNames names, ReadFileNames(fd));
  if (drop != nullptr)
    std::erase(names.bindings, vault_keys_.Bind(names.id, drop->folder->id(), drop->name));
  if (!keep_others) names.bindings.clear();
  const Binding added = vault_keys_.Bind(names.id, place.folder->id(), place.name);
  AddBinding(names.bindings, added);
  return WriteFileNames(fd, names);
}

Status Vault::Unlink(const Place& place) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  struct stat st;
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(place.folder->fd(), backing, O_PATH));
  if (::fstatat(fd.get(), "", &st, AT_EMPTY_PATH) != 0) return Status::FromErrno(errno, "stat");
  if (::unlinkat(place.folder->fd(), backing.c_str(), 0) != 0)
    return Status::FromErrno(errno, "unlink");
  place.folder->DropLongName(backing);
  if (S_ISREG(st.st_mode) && st.st_nlink > 1) {
    // The other names stay; this one no longer leads to the file.
    auto names = ReadFileNames(fd.get());
    if (names.ok()) {
      std::erase(names->bindings,
                 vault_keys_.Bind(names->id, place.folder->id(), place.name));
      (void)WriteFileNames(fd.get(), *names);
    }
  }
  return OkStatus();
}

Status Vault::Link(const Place& from, int fd, const Place& to, const User& user) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0) return Status::FromErrno(errno, "stat");
  if (S_ISLNK(st.st_mode)) {
    // A symlink's text is bound to its name, so another name is another link.
    KF_ASSIGN_OR_RETURN(const std::string target, ReadSymlink(from, fd));
    return MakeSymlink(to, target, user);
  }
  if (from.folder && from.folder->key_id() != to.folder->key_id())
    return Status::FromErrno(EXDEV, "link");
  KF_ASSIGN_OR_RETURN(const std::string backing, to.folder->BackingName(to.name));
  if (S_ISREG(st.st_mode)) KF_RETURN_IF_ERROR(BindAlso(fd, to, true, nullptr));
  KF_RETURN_IF_ERROR(to.folder->KeepLongName(backing, to.name));
  if (::linkat(AT_FDCWD, FdPath(fd).c_str(), to.folder->fd(), backing.c_str(),
               AT_SYMLINK_FOLLOW) != 0)
    return Status::FromErrno(errno, "link");
  return OkStatus();
}

namespace {

// Mover carries out the binding changes of one renamed object: both names
// before the rename, only the new one after it.
class Mover {
 public:
  Mover(const VaultKeys& keys, const Place& from, const Place& to)
      : keys_(keys), from_(from), to_(to) {}

  Status Prepare(const std::string& backing) {
    auto fd = OpenAt(from_.folder->fd(), backing, O_PATH);
    if (!fd.ok()) return fd.status();
    fd_ = std::move(*fd);
    if (::fstatat(fd_.get(), "", &st_, AT_EMPTY_PATH) != 0)
      return Status::FromErrno(errno, "stat");
    return Write(true, true);
  }
  Status Finish() { return Write(false, true); }
  Status Undo() { return Write(true, false); }
  bool is_symlink() const { return S_ISLNK(st_.st_mode); }
  int fd() const { return fd_.get(); }
  const struct stat& st() const { return st_; }

 private:
  Status Write(bool old_name, bool new_name) {
    if (S_ISDIR(st_.st_mode)) {
      KF_ASSIGN_OR_RETURN(FolderDescriptor d, ReadFolderDescriptor(keys_, fd_.get()));
      Adjust(&d.bindings, d.id, old_name, new_name);
      return WriteFolderDescriptor(keys_, fd_.get(), d);
    }
    if (!S_ISREG(st_.st_mode)) return OkStatus();
    KF_ASSIGN_OR_RETURN(FileNames names, ReadFileNames(fd_.get()));
    Adjust(&names.bindings, names.id, old_name, new_name);
    return WriteFileNames(fd_.get(), names);
  }
  template <typename Id>
  void Adjust(std::vector<Binding>* bindings, const Id& id, bool old_name, bool new_name) {
    const Binding before = keys_.Bind(id, from_.folder->id(), from_.name);
    const Binding after = keys_.Bind(id, to_.folder->id(), to_.name);
    RemoveBinding(*bindings, before);
    RemoveBinding(*bindings, after);
    if (old_name) AddBinding(*bindings, before);
    if (new_name) AddBinding(*bindings, after);
  }

  const VaultKeys& keys_;
  const Place& from_;
  const Place& to_;
  UniqueFd fd_;
  struct stat st_{};
};

}  // namespace

Status Vault::Rename(const Place& from, const Place& to, unsigned flags) {
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) return Status::FromErrno(EINVAL, "rename");
  if (from.folder->key_id() != to.folder->key_id()) return Status::FromErrno(EXDEV, "rename");
  KF_ASSIGN_OR_RETURN(const std::string source, from.folder->BackingName(from.name));
  KF_ASSIGN_OR_RETURN(const std::string target, to.folder->BackingName(to.name));
  Mover mover(vault_keys_, from, to);
  // An object that is not bound to its name must not be given a good one.
  auto found = OpenAt(from.folder->fd(), source, O_PATH);
  if (!found.ok()) return found.status();
  struct stat st;
  if (::fstatat(found->get(), "", &st, AT_EMPTY_PATH) != 0) return Status::FromErrno(errno, "stat");
  if (S_ISREG(st.st_mode)) KF_RETURN_IF_ERROR(CheckBinding(from, found->get()));
  KF_RETURN_IF_ERROR(mover.Prepare(source));

  if (mover.is_symlink() && !(flags & RENAME_EXCHANGE)) {
    KF_ASSIGN_OR_RETURN(const std::string text, ReadSymlink(from, mover.fd()));
    const Bytes sealed = vault_keys_.SealName(SymlinkAad(to.folder->id(), to.name), text);
    const std::string temp = kTempPrefix + RandomUuid();
    KF_RETURN_IF_ERROR(to.folder->KeepLongName(target, to.name));
    if (::symlinkat(EncodeSymlink(sealed).c_str(), to.folder->fd(), temp.c_str()) != 0)
      return Status::FromErrno(errno, "rename");
    const timespec times[2] = {mover.st().st_atim, mover.st().st_mtim};
    if (::fchownat(to.folder->fd(), temp.c_str(), mover.st().st_uid, mover.st().st_gid,
                   AT_SYMLINK_NOFOLLOW) != 0 ||
        ::utimensat(to.folder->fd(), temp.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0 ||
        RenameAt(to.folder->fd(), temp, to.folder->fd(), target, flags) != 0) {
      const int error = errno;
      (void)::unlinkat(to.folder->fd(), temp.c_str(), 0);
      return Status::FromErrno(error, "rename");
    }
    if (::unlinkat(from.folder->fd(), source.c_str(), 0) != 0)
      return Status::FromErrno(errno, "rename");
    from.folder->DropLongName(source);
    return OkStatus();
  }

  Mover other(vault_keys_, to, from);
  const bool exchange = flags & RENAME_EXCHANGE;
  if (exchange) {
    KF_RETURN_IF_ERROR(other.Prepare(target));
    if (mover.is_symlink() || other.is_symlink()) {
      (void)mover.Undo();
      (void)other.Undo();
      return Status::FromErrno(EINVAL, "exchange of a symbolic link");
    }
  }
  KF_RETURN_IF_ERROR(to.folder->KeepLongName(target, to.name));
  if (RenameAt(from.folder->fd(), source, to.folder->fd(), target, flags) != 0) {
    const int error = errno;
    (void)mover.Undo();
    if (exchange) (void)other.Undo();
    return Status::FromErrno(error, "rename");
  }
  if (exchange) KF_RETURN_IF_ERROR(other.Finish());
  else if (source != target) from.folder->DropLongName(source);
  return mover.Finish();
}

Status Vault::MakeNode(const Place& place, mode_t mode, dev_t device, const User& user) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  KF_RETURN_IF_ERROR(place.folder->KeepLongName(backing, place.name));
  AsCaller as(user.caller.uid, user.caller.gid, user.groups);
  if (::mknodat(place.folder->fd(), backing.c_str(), mode, device) != 0)
    return Status::FromErrno(errno, "mknod");
  return OkStatus();
}

Status Vault::MakeSymlink(const Place& place, const std::string& target, const User& user) {
  KF_RETURN_IF_ERROR(CheckSymlinkTarget(target));
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  KF_RETURN_IF_ERROR(place.folder->KeepLongName(backing, place.name));
  const std::string text = EncodeSymlink(vault_keys_.SealName(SymlinkAad(place.folder->id(), place.name), target));
  AsCaller as(user.caller.uid, user.caller.gid, user.groups);
  if (::symlinkat(text.c_str(), place.folder->fd(), backing.c_str()) != 0)
    return Status::FromErrno(errno, "symlink");
  return OkStatus();
}

Result<std::string> Vault::ReadSymlink(const Place& place, int fd) {
  std::string text(4096, '\0');
  const ssize_t n = ::readlinkat(fd, "", text.data(), text.size());
  if (n < 0) return Status::FromErrno(errno, "readlink");
  text.resize(static_cast<size_t>(n));
  const auto sealed = DecodeSymlink(text);
  if (!sealed.ok() || !place.folder) return Status(Error::kCorrupt, "symbolic link was altered");
  auto target = vault_keys_.OpenName(SymlinkAad(place.folder->id(), place.name), *sealed);
  if (!target.ok()) return Status(Error::kCorrupt, "symbolic link was altered or moved");
  return std::string(AsText(*target));
}

namespace {

// Attributes are bound to the object they belong to; its id lies in Keyfold's
// own attribute. Symlinks and nodes have none, as user.* is not allowed there.
Result<Bytes> ObjectIdOf(const VaultKeys& keys, int fd) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0) return Status::FromErrno(errno, "stat");
  if (S_ISDIR(st.st_mode)) {
    KF_ASSIGN_OR_RETURN(const FolderDescriptor folder, ReadFolderDescriptor(keys, fd));
    return Bytes(folder.id.bytes.begin(), folder.id.bytes.end());
  }
  if (!S_ISREG(st.st_mode)) return Status::FromErrno(EPERM, "xattr");
  KF_ASSIGN_OR_RETURN(const FileNames names, ReadFileNames(fd));
  return Bytes(names.id.bytes.begin(), names.id.bytes.end());
}

std::string BackingXattr(const VaultKeys& keys, ByteView object, const std::string& name) {
  return EncodeXattrName(keys.SealName(XattrNameAad(object), name));
}

Status CheckXattrName(const std::string& name) {
  return name.size() > kMaxXattrName ? Status::FromErrno(ERANGE, "xattr") : OkStatus();
}

}  // namespace

Result<Bytes> Vault::GetUserXattr(int fd, const std::string& name) {
  KF_RETURN_IF_ERROR(CheckXattrName(name));
  KF_ASSIGN_OR_RETURN(const Bytes object, ObjectIdOf(vault_keys_, fd));
  KF_ASSIGN_OR_RETURN(auto sealed, GetXattr(fd, BackingXattr(vault_keys_, object, name)));
  if (!sealed) return Status::FromErrno(ENODATA, "getxattr");
  auto value = vault_keys_.OpenXattr(XattrValueAad(object, name), *sealed);
  if (!value.ok()) return Status(Error::kCorrupt, "extended attribute was altered");
  return value;
}

Status Vault::SetUserXattr(int fd, const std::string& name, ByteView value, int flags) {
  KF_RETURN_IF_ERROR(CheckXattrName(name));
  KF_ASSIGN_OR_RETURN(const Bytes object, ObjectIdOf(vault_keys_, fd));
  return SetXattr(fd, BackingXattr(vault_keys_, object, name),
                  vault_keys_.SealXattr(XattrValueAad(object, name), value), flags);
}

Status Vault::RemoveUserXattr(int fd, const std::string& name) {
  KF_RETURN_IF_ERROR(CheckXattrName(name));
  KF_ASSIGN_OR_RETURN(const Bytes object, ObjectIdOf(vault_keys_, fd));
  const std::string backing = BackingXattr(vault_keys_, object, name);
  if (::removexattr(FdPath(fd).c_str(), backing.c_str()) != 0)
    return Status::FromErrno(errno, "removexattr");
  return OkStatus();
}

Result<std::vector<std::string>> Vault::ListUserXattrs(int fd) {
  std::vector<std::string> names;
  auto object = ObjectIdOf(vault_keys_, fd);
  if (!object.ok()) return names;
  std::string list(64 * 1024, '\0');
  const ssize_t n = ::listxattr(FdPath(fd).c_str(), list.data(), list.size());
  if (n < 0) return Status::FromErrno(errno, "listxattr");
  list.resize(static_cast<size_t>(n));
  for (size_t at = 0; at < list.size();) {
    const std::string backing = list.c_str() + at;
    at += backing.size() + 1;
    auto sealed = DecodeXattrName(backing);
    if (!sealed.ok()) continue;
    auto name = vault_keys_.OpenName(XattrNameAad(*object), *sealed);
    if (name.ok()) names.emplace_back(AsText(*name));
  }
  return names;
}

void Vault::Revoke(const std::function<void(ino_t)>& invalidate) {
  std::vector<std::shared_ptr<File>> open;
  {
    std::lock_guard lock(files_mutex_);
    for (const auto& [ino, file] : files_) open.push_back(file);
  }
  for (const auto& file : open) {
    std::vector<std::shared_ptr<Handle>> handles;
    {
      std::lock_guard lock(file->handles_mutex);
      handles = file->handles;
    }
    const EncryptionContext context = ContextOf(*file);
    const std::string key_id = file->header().key_id;
    bool lost = false;
    for (const auto& handle : handles) {
      const Status status = keys_.StillAllowed(handle->caller, key_id, context, handle->use);
      if (status.ok()) continue;
      lost = true;
      handle->lost_errno = status.error() == Error::kAccessDenied ? EACCES : ENOKEY;
    }
    if (!lost) continue;
    // Pages are shared by all who have the file open, so none of them may put
    // pages back: the others must open it again.
    for (const auto& handle : handles) {
      int none = 0;
      handle->lost_errno.compare_exchange_strong(none, ESTALE);
    }
    invalidate(file->ino());
    (void)file->WriteHeader();
    file->Wipe();
    std::lock_guard lock(files_mutex_);
    const auto it = files_.find(file->ino());
    if (it != files_.end() && it->second == file) files_.erase(it);
  }
}

void Vault::FlushAll() {
  std::vector<std::shared_ptr<File>> open;
  {
    std::lock_guard lock(files_mutex_);
    for (const auto& [ino, file] : files_) open.push_back(file);
  }
  for (const auto& file : open) (void)file->WriteHeader();
}

Status Vault::StatFs(struct statvfs* out) {
  if (::fstatvfs(root_->fd(), out) != 0) return Status::FromErrno(errno, "statfs");
  out->f_namemax = 255;
  return OkStatus();
}

}  // namespace keyfold
