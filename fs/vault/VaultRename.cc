#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>

#include <optional>

#include "fs/vault/Vault.h"

namespace keyfold {
namespace {

Status RenameAt(const Folder& from, const std::string& name, const Folder& to,
                const std::string& new_name, unsigned flags) {
  return ::renameat2(from.fd(), name.c_str(), to.fd(), new_name.c_str(), flags) == 0
             ? OkStatus()
             : Status::FromErrno(errno, "rename");
}

// Mover takes one object of a rename to its new name: its bindings to both names
// before, to the new one after. A symbolic link is made anew, since its text is
// bound to its name.
class Mover {
 public:
  Mover(const VaultKeys& keys, const Place& from, const Place& to)
      : keys_(keys), from_(from), to_(to) {}
  // What goes is the new link if it found no place, else what it took the place of.
  ~Mover() {
    if (!link_.empty()) (void)::unlinkat(to_.folder->fd(), link_.c_str(), 0);
  }

  Status Open(const std::string& backing) {
    KF_ASSIGN_OR_RETURN(fd_, OpenAt(from_.folder->fd(), backing, O_PATH));
    if (::fstatat(fd_.get(), "", &st_, AT_EMPTY_PATH) != 0)
      return Status::FromErrno(errno, "stat");
    return OkStatus();
  }
  // Prepare is kCorrupt for an object that is not bound to its present name: it
  // must not be given a good one.
  Status Prepare(const std::string& link_target) {
    if (!is_symlink()) return Rebind(true, true);
    const Bytes sealed =
        keys_.SealName(SymlinkAad(to_.folder->id(), to_.name), link_target);
    link_ = TemporaryName();
    const int folder = to_.folder->fd();
    const timespec times[2] = {st_.st_atim, st_.st_mtim};
    if (::symlinkat(EncodeSymlink(sealed).c_str(), folder, link_.c_str()) != 0 ||
        ::fchownat(folder, link_.c_str(), st_.st_uid, st_.st_gid,
                   AT_SYMLINK_NOFOLLOW) != 0 ||
        ::utimensat(folder, link_.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return Status::FromErrno(errno, "rename");
    return OkStatus();
  }
  void Undo() {
    if (!is_symlink()) (void)Rebind(true, false);
  }
  Status Finish() { return is_symlink() ? OkStatus() : Rebind(false, true); }
  // PlaceLink puts the new link at `backing`. What is there, if it `replaces`
  // something, waits under the temporary name until nothing can fail any more.
  Result<UniqueFd> PlaceLink(const std::string& backing, bool replaces) {
    const Folder& folder = *to_.folder;
    Status placed = RenameAt(folder, link_, folder, backing,
                             replaces ? RENAME_EXCHANGE : RENAME_NOREPLACE);
    kept_ = replaces && placed.ok();
    // A filesystem that cannot exchange keeps nothing, so there is no taking back.
    if (replaces && placed.sys_errno() == EINVAL)
      placed = RenameAt(folder, link_, folder, backing, 0);
    KF_RETURN_IF_ERROR(placed);
    if (kept_ || !replaces) placed_ = backing;
    if (!kept_) link_.clear();
    return OpenAt(folder.fd(), backing, O_PATH);
  }
  // TakeBackLink undoes PlaceLink, if that was reached.
  void TakeBackLink() {
    if (placed_.empty()) return;
    const Folder& folder = *to_.folder;
    if (kept_)
      (void)RenameAt(folder, link_, folder, placed_, RENAME_EXCHANGE);
    else
      (void)::unlinkat(folder.fd(), placed_.c_str(), 0);
  }

  bool is_symlink() const { return S_ISLNK(st_.st_mode); }
  bool is_folder() const { return S_ISDIR(st_.st_mode); }
  int fd() const { return fd_.get(); }
  const struct stat& st() const { return st_; }

 private:
  Status Rebind(bool old_name, bool new_name) {
    if (is_folder()) {
      KF_ASSIGN_OR_RETURN(FolderDescriptor d, ReadFolderDescriptor(keys_, fd_.get()));
      KF_RETURN_IF_ERROR(Adjust(&d.bindings, d.id, old_name, new_name));
      return WriteFolderDescriptor(keys_, fd_.get(), d);
    }
    if (!S_ISREG(st_.st_mode)) return OkStatus();
    KF_ASSIGN_OR_RETURN(FileNames names, ReadFileNames(fd_.get()));
    KF_RETURN_IF_ERROR(Adjust(&names.bindings, names.id, old_name, new_name));
    return WriteFileNames(fd_.get(), names);
  }
  template <typename Id>
  Status Adjust(std::vector<Binding>* bindings, const Id& id, bool old_name,
                bool new_name) {
    const Binding before = keys_.Bind(id, from_.folder->id(), from_.name);
    const Binding after = keys_.Bind(id, to_.folder->id(), to_.name);
    if (!HasBinding(*bindings, before))
      return Status(Error::kCorrupt, "what is renamed was moved in the backing store");
    // A folder has one name: others are left from a rename that was cut off.
    if constexpr (std::is_same_v<Id, FolderId>) bindings->clear();
    RemoveBinding(*bindings, before);
    RemoveBinding(*bindings, after);
    if (old_name) AddBinding(*bindings, before);
    if (new_name) AddBinding(*bindings, after);
    return OkStatus();
  }

  const VaultKeys& keys_;
  const Place& from_;
  const Place& to_;
  UniqueFd fd_;
  struct stat st_ {};
  std::string link_;    // temporary name of the new symbolic link
  std::string placed_;  // where it was put, and may be taken back from
  bool kept_ = false;   // what was there is under the temporary name since
};

}  // namespace

Status Vault::Rename(const Place& from, const Place& to, unsigned flags,
                     const std::function<void(Moved&)>& moved) {
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
    return Status::FromErrno(EINVAL, "rename");
  if (from.folder->key_id() != to.folder->key_id())
    return Status::FromErrno(EXDEV, "rename");
  KF_ASSIGN_OR_RETURN(const std::string source, from.folder->BackingName(from.name));
  KF_ASSIGN_OR_RETURN(const std::string target, to.folder->BackingName(to.name));
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  std::lock_guard lock(names_mutex_);

  Mover object(vault_keys_, from, to), other(vault_keys_, to, from);
  KF_RETURN_IF_ERROR(object.Open(source));
  const Status found = other.Open(target);
  if (!found.ok() && (found.sys_errno() != ENOENT || exchange)) return found;
  if (found.ok() && (flags & RENAME_NOREPLACE))
    return Status::FromErrno(EEXIST, "rename");
  if (found.ok() && other.st().st_ino == object.st().st_ino) return OkStatus();

  auto prepare = [&](Mover& mover, const Place& place) -> Status {
    std::string link_target;
    if (mover.is_symlink()) {
      KF_ASSIGN_OR_RETURN(link_target, ReadSymlink(place, mover.fd()));
    }
    return mover.Prepare(link_target);
  };
  KF_RETURN_IF_ERROR(prepare(object, from));
  if (exchange) {
    const Status prepared = prepare(other, to);
    if (!prepared.ok()) {
      object.Undo();
      return prepared;
    }
  }
  Moved result;
  bool exchanged = false;
  auto carry_out = [&]() -> Status {
    KF_RETURN_IF_ERROR(to.folder->KeepLongName(target, to.name));
    if (object.is_symlink() && !exchange) {
      if (found.ok() && other.is_folder()) return Status::FromErrno(EISDIR, "rename");
      KF_ASSIGN_OR_RETURN(result.new_object, object.PlaceLink(target, found.ok()));
      if (::unlinkat(from.folder->fd(), source.c_str(), 0) != 0)
        return Status::FromErrno(errno, "rename");
      return OkStatus();
    }
    Status status = RenameAt(*from.folder, source, *to.folder, target, flags);
    if (status.sys_errno() == ENOTEMPTY || status.sys_errno() == EEXIST) {
      if (!found.ok() || !other.is_folder()) return status;
      Folder::SweepLeftovers(other.fd());
      status = RenameAt(*from.folder, source, *to.folder, target, flags);
    }
    KF_RETURN_IF_ERROR(status);
    exchanged = exchange;
    if (exchange && object.is_symlink()) {
      KF_ASSIGN_OR_RETURN(result.new_object, object.PlaceLink(target, true));
    }
    if (exchange && other.is_symlink()) {
      KF_ASSIGN_OR_RETURN(result.new_other, other.PlaceLink(source, true));
    }
    return OkStatus();
  };
  const Status done = carry_out();
  if (!done.ok()) {
    other.TakeBackLink();
    object.TakeBackLink();
    if (exchanged)
      (void)RenameAt(*from.folder, source, *to.folder, target, RENAME_EXCHANGE);
    object.Undo();
    if (exchange) other.Undo();
    return done;
  }
  result.object = object.st().st_ino;
  result.other = found.ok() ? other.st().st_ino : 0;
  result.exchanged = exchange;
  moved(result);
  // It has happened: a binding too many does no harm.
  if (exchange) {
    (void)other.Finish();
  } else {
    from.folder->DropLongName(source);
    if (found.ok() && S_ISREG(other.st().st_mode) && other.st().st_nlink > 1)
      (void)Unbind(to, other.fd());
  }
  (void)object.Finish();
  return OkStatus();
}

}  // namespace keyfold
