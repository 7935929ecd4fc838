#include "fs/fuse/Request.h"

#include <cstring>

namespace keyfold {

Caller Request::caller() const {
  const fuse_ctx* ctx = fuse_req_ctx(req_);
  Caller caller;
  caller.uid = ctx->uid;
  caller.gid = ctx->gid;
  caller.pid = ctx->pid;
  return caller;
}

User Request::user() const {
  auto groups = [req = req_] {
    std::vector<gid_t> list(64);
    int count = fuse_req_getgroups(req, static_cast<int>(list.size()), list.data());
    if (count > static_cast<int>(list.size())) {
      list.resize(static_cast<size_t>(count));
      count = fuse_req_getgroups(req, count, list.data());
    }
    list.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return list;
  };
  return {caller(), std::move(groups), fuse_req_ctx(req_)->umask};
}

void Request::RecordDamage(const Status& status, const Caller& caller,
                           const std::string& key_id, const FileEvent& event) {
  (void)vault().keys().RecordFileEvent(caller, key_id, event, status);
}

void Request::Refuse(const Status& status, const char* event, const InodeRef& inode,
                     const char* child) {
  if (IsDamage(status)) {
    std::string key_id;
    if (inode->folder) {
      key_id = inode->folder->key_id();
    } else if (S_ISREG(inode->type)) {
      const auto fd = inodes().Hold(inode);
      const auto of_header = fd.ok() ? vault().KeyOf(fd->get()) : fd.status();
      if (of_header.ok()) key_id = of_header->key_id;
    }
    RecordDamage(
        status, caller(), key_id,
        {event,
         child == nullptr ? inodes().PathOf(inode) : inodes().PathOf(inode, child),
         KeyUse::kRead});
  }
  Reply(status);
}

Status Request::Lookup(const InodeRef& parent, const std::string& name,
                       fuse_entry_param* entry) {
  constexpr int kMostOvertaken = 8;
  Status found;
  // A rename may take away what was found before it was looked at.
  for (int times = 0; times < kMostOvertaken; ++times) {
    found = LookupOnce(parent, name, entry);
    if (found.sys_errno() != ESTALE) break;
  }
  return found;
}

Status Request::LookupOnce(const InodeRef& parent, const std::string& name,
                           fuse_entry_param* entry) {
  if (!parent->folder) return Status::FromErrno(ENOTDIR, name);
  const Place place{parent->folder, name};
  struct stat st;
  KF_ASSIGN_OR_RETURN(UniqueFd fd, vault().Find(place, &st));
  std::shared_ptr<Folder> folder;
  if (S_ISDIR(st.st_mode)) {
    // Checked at every lookup: a folder moved in the store is noticed even
    // while the kernel knows it under its old name.
    KF_ASSIGN_OR_RETURN(folder, vault().OpenFolder(place, fd.get()));
  } else if (S_ISREG(st.st_mode)) {
    // A file new to the kernel is checked when it is opened.
    if (const InodeRef known = inodes().Known(st.st_ino)) {
      const Place before = inodes().PlaceOf(known);
      if (before.folder != place.folder || before.name != name)
        KF_RETURN_IF_ERROR(vault().CheckBinding(place, fd.get()));
    }
  }
  Known(std::move(fd), st, std::move(folder), parent, name, entry);
  return OkStatus();
}

void Request::Known(UniqueFd fd, const struct stat& st, std::shared_ptr<Folder> folder,
                    const InodeRef& parent, const std::string& name,
                    fuse_entry_param* entry) {
  auto fresh = std::make_shared<keyfold::Inode>();
  fresh->ino = st.st_ino;
  fresh->type = st.st_mode & S_IFMT;
  fresh->size = static_cast<uint64_t>(st.st_size);
  fresh->anchor = fs_.AnchorOf(std::move(fd));
  fresh->folder = std::move(folder);
  std::memset(entry, 0, sizeof *entry);
  entry->attr = st;
  entry->attr_timeout = kCacheSeconds;
  entry->entry_timeout = kCacheSeconds;
  entry->generation = 1;
  entry->ino = inodes().Add(std::move(fresh), parent, name)->node;
}

MutableBytes ThreadBuffer(size_t size) {
  thread_local Bytes buffer;
  if (buffer.size() < size) buffer.resize(size);
  return MutableBytes(buffer.data(), size);
}

}  // namespace keyfold
