#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fs/fuse/FileHandle.h"

namespace keyfold {
namespace {

// ReplyAttributes answers with the object's attributes, or returns why it can't.
Status ReplyAttributes(Request& r, const InodeRef& inode) {
  struct stat st;
  KF_ASSIGN_OR_RETURN(const auto fd, r.inodes().Hold(inode));
  KF_RETURN_IF_ERROR(r.vault().Stat(fd.get(), &st));
  fuse_reply_attr(r.get(), &st, kCacheSeconds);
  return OkStatus();
}

void GetAttrOp(fuse_req_t req, fuse_ino_t node, fuse_file_info*) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    // The kernel asks before each cached write once the attributes were dropped.
    // Through an inode of a revocation nobody may write any more: what is written
    // would lie in pages that those who lost the right still see.
    if (!inode || inode->detached) return r.Reply(NoSuchInode());
    const Status status = ReplyAttributes(r, inode);
    if (!status.ok()) r.Reply(status);
  });
}

Status TruncateTo(Request& r, const InodeRef& inode, fuse_file_info* fi,
                  uint64_t length) {
  if (length > INT64_MAX) return Status::FromErrno(EFBIG, "truncate");
  if (fi != nullptr) {
    const auto& handle = HandleOf(fi);
    if (handle->lost_errno != 0)
      return Status::FromErrno(handle->lost_errno, "truncate");
    if (handle->use == KeyUse::kRead) return Status::FromErrno(EINVAL, "truncate");
    return handle->file->Truncate(length);
  }
  KF_ASSIGN_OR_RETURN(const auto handle,
                      OpenInode(r, inode, KeyUse::kWrite, "TruncateFile"));
  const Closing closing(r.vault(), handle);
  KF_RETURN_IF_ERROR(handle->file->Truncate(length));
  inode->size = length;
  return OkStatus();
}

Status SetTimes(Request& r, const InodeRef& inode, int fd, const struct stat& attr,
                int to_set) {
  timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  if (to_set & FUSE_SET_ATTR_ATIME_NOW)
    times[0].tv_nsec = UTIME_NOW;
  else if (to_set & FUSE_SET_ATTR_ATIME)
    times[0] = attr.st_atim;
  if (to_set & FUSE_SET_ATTR_MTIME_NOW)
    times[1].tv_nsec = UTIME_NOW;
  else if (to_set & FUSE_SET_ATTR_MTIME)
    times[1] = attr.st_mtim;
  const auto set = [&] {
    return ::utimensat(fd, "", times, AT_EMPTY_PATH) == 0
               ? OkStatus()
               : Status::FromErrno(errno, "utimens");
  };
  // A header written later would move the time again.
  return S_ISREG(inode->type) ? r.vault().Hold(inode->ino, set) : set();
}

Status SetAttributes(Request& r, const InodeRef& inode, const struct stat& attr,
                     int to_set, fuse_file_info* fi) {
  // A path may lead to an inode that was replaced by another one.
  if (fi == nullptr && inode->detached) return NoSuchInode();
  KF_ASSIGN_OR_RETURN(const auto held, r.inodes().Hold(inode));
  const int fd = held.get();
  if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) {
    const uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr.st_uid : static_cast<uid_t>(-1);
    const gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr.st_gid : static_cast<gid_t>(-1);
    if (::fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0)
      return Status::FromErrno(errno, "chown");
  }
  if (to_set & FUSE_SET_ATTR_MODE) {
    if (S_ISLNK(inode->type)) return Status::FromErrno(EOPNOTSUPP, "chmod");
    if (::chmod(FdPath(fd).c_str(), attr.st_mode & 07777) != 0)
      return Status::FromErrno(errno, "chmod");
  }
  if (to_set & FUSE_SET_ATTR_SIZE) {
    KF_RETURN_IF_ERROR(TruncateTo(r, inode, fi, static_cast<uint64_t>(attr.st_size)));
    if (inode->lost_end > static_cast<uint64_t>(attr.st_size))
      inode->lost_end = static_cast<uint64_t>(attr.st_size);
    KF_RETURN_IF_ERROR(ClearSetId(r, inode));
  }
  if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))
    return SetTimes(r, inode, fd, attr, to_set);
  return OkStatus();
}

// The kernel writes the times of a file back when it lets go of it, be its last name
// gone by then. An error would be told to whoever syncs the filesystem next.
bool IsWriteBackOfGone(const Status& status, const InodeRef& inode, int to_set) {
  constexpr int kOthers =
      FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_SIZE;
  return status.sys_errno() == ESTALE && !inode->detached && (to_set & kOthers) == 0;
}

void ReplyGone(Request& r, const InodeRef& inode) {
  struct stat st {};
  st.st_ino = inode->ino;
  st.st_mode = inode->type;
  fuse_reply_attr(r.get(), &st, 0);
}

void SetAttrOp(fuse_req_t req, fuse_ino_t node, struct stat* attr, int to_set,
               fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    const Status status = SetAttributes(r, inode, *attr, to_set, fi);
    if (IsWriteBackOfGone(status, inode, to_set)) return ReplyGone(r, inode);
    // Only a truncation by path waits, so there is no handle to keep.
    if (IsPostponed(status) && fi == nullptr)
      return r.fs().Postpone([req, node, wanted = *attr, to_set]() mutable {
        SetAttrOp(req, node, &wanted, to_set, nullptr);
      });
    if (!status.ok()) return r.Refuse(status, "TruncateFile", inode);
    const Status replied = ReplyAttributes(r, inode);
    if (replied.sys_errno() == ESTALE) return ReplyGone(r, inode);
    if (!replied.ok()) r.Reply(replied);
  });
}

void StatFsOp(fuse_req_t req, fuse_ino_t) {
  Guard(req, [&](Request& r) {
    struct statvfs st;
    const Status status = r.vault().StatFs(&st);
    if (!status.ok()) return r.Reply(status);
    fuse_reply_statfs(req, &st);
  });
}

}  // namespace

void AddAttributeOperations(fuse_lowlevel_ops* ops) {
  ops->getattr = GetAttrOp;
  ops->setattr = SetAttrOp;
  ops->statfs = StatFsOp;
}

}  // namespace keyfold
