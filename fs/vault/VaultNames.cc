#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fs/vault/Vault.h"

namespace keyfold {

// NotBound is for an object that was not given the name `place`, while no name changes:
// it is no damage if that name leads to another or to none, as a rename may have been
// faster than who looked it up.
Status Vault::NotBound(const Place& place, int fd, std::string_view damage) {
  if (!place.folder) return {Error::kCorrupt, std::string(damage)};
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  struct stat at;
  struct stat of;
  if (::fstatat(fd, "", &of, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  const bool found =
      ::fstatat(place.folder->fd(), backing.c_str(), &at, AT_SYMLINK_NOFOLLOW) == 0;
  if (!found && errno != ENOENT) return Status::FromErrno(errno, "stat");
  if (!found || at.st_dev != of.st_dev || at.st_ino != of.st_ino)
    return Status::FromErrno(ESTALE, "name");
  return {Error::kCorrupt, std::string(damage)};
}

Result<FileNames> Vault::BoundNames(const Place& place, int fd) {
  return Bound(place, fd, kFileMoved, [fd] { return ReadFileNames(fd); });
}

Status Vault::CheckBinding(const Place& place, int fd) {
  return BoundNames(place, fd).status();
}

// Unbind takes from a file that has other names the binding of one it lost.
Status Vault::Unbind(const Place& place, int fd) {
  KF_ASSIGN_OR_RETURN(FileNames names, ReadFileNames(fd));
  RemoveBinding(names.bindings,
                vault_keys_.Bind(names.id, place.folder->id(), place.name));
  return WriteFileNames(fd, names);
}

Status Vault::Unlink(const Place& place, const std::function<void(ino_t)>& gone) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  KF_ASSIGN_OR_RETURN(const UniqueFd fd, OpenAt(place.folder->fd(), backing, O_PATH));
  struct stat st;
  std::lock_guard lock(names_mutex_);
  if (::fstatat(fd.get(), "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  if (::unlinkat(place.folder->fd(), backing.c_str(), 0) != 0)
    return Status::FromErrno(errno, "unlink");
  gone(st.st_ino);
  place.folder->DropLongName(backing);
  if (S_ISREG(st.st_mode) && st.st_nlink > 1) (void)Unbind(place, fd.get());
  return OkStatus();
}

Status Vault::Link(const Place& from, int fd, const Place& to, const User& user) {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  if (S_ISLNK(st.st_mode)) {
    // A symlink's text is bound to its name, so another name is another link.
    KF_ASSIGN_OR_RETURN(const std::string target, ReadSymlink(from, fd));
    return MakeSymlink(to, target, user);
  }
  if (from.folder && from.folder->key_id() != to.folder->key_id())
    return Status::FromErrno(EXDEV, "link");
  KF_ASSIGN_OR_RETURN(const std::string backing, to.folder->BackingName(to.name));
  std::lock_guard lock(names_mutex_);
  bool bound = false;
  if (S_ISREG(st.st_mode)) {
    // A file that is not bound to its name must not be given a good one.
    KF_ASSIGN_OR_RETURN(FileNames names, ReadFileNames(fd));
    if (!from.folder ||
        !HasBinding(names.bindings,
                    vault_keys_.Bind(names.id, from.folder->id(), from.name)))
      return NotBound(from, fd, kFileMoved);
    const Binding added = vault_keys_.Bind(names.id, to.folder->id(), to.name);
    if (!HasBinding(names.bindings, added)) {
      if (names.bindings.size() >= kMaxNameBindings)
        return Status::FromErrno(EMLINK, "link");
      AddBinding(names.bindings, added);
      KF_RETURN_IF_ERROR(WriteFileNames(fd, names));
      bound = true;
    }
  }
  Status status = to.folder->KeepLongName(backing, to.name);
  if (status.ok() && ::linkat(AT_FDCWD, FdPath(fd).c_str(), to.folder->fd(),
                              backing.c_str(), AT_SYMLINK_FOLLOW) != 0)
    status = Status::FromErrno(errno, "link");
  if (!status.ok() && bound) (void)Unbind(to, fd);
  return status;
}

Status Vault::MakeNode(const Place& place, mode_t mode, dev_t device,
                       const User& user) {
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  KF_RETURN_IF_ERROR(place.folder->KeepLongName(backing, place.name));
  return MakeAs(user.identity(), false, [&] {
    return ::mknodat(place.folder->fd(), backing.c_str(), mode, device) == 0
               ? OkStatus()
               : Status::FromErrno(errno, "mknod");
  });
}

Status Vault::MakeSymlink(const Place& place, const std::string& target,
                          const User& user) {
  KF_RETURN_IF_ERROR(CheckSymlinkTarget(target));
  KF_ASSIGN_OR_RETURN(const std::string backing, place.folder->BackingName(place.name));
  KF_RETURN_IF_ERROR(place.folder->KeepLongName(backing, place.name));
  const std::string text = EncodeSymlink(
      vault_keys_.SealName(SymlinkAad(place.folder->id(), place.name), target));
  return MakeAs(user.identity(), false, [&] {
    return ::symlinkat(text.c_str(), place.folder->fd(), backing.c_str()) == 0
               ? OkStatus()
               : Status::FromErrno(errno, "symlink");
  });
}

Result<std::string> Vault::ReadSymlink(const Place& place, int fd) {
  KF_ASSIGN_OR_RETURN(const std::string text, ReadLinkAt(fd, ""));
  if (!place.folder) return Status(Error::kCorrupt, "the symbolic link was altered");
  return place.folder->SymlinkTarget(place.name, text);
}

}  // namespace keyfold
