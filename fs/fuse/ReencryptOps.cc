#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "fs/fuse/FileHandle.h"
#include "fs/fuse/Reencryption.h"

namespace keyfold {
namespace {

// Begin is for the owner, as a change of the file's key is.
Status Begin(Request& r, const InodeRef& inode, const Handle& handle) {
  struct stat st;
  KF_ASSIGN_OR_RETURN(const auto fd, r.inodes().Hold(inode));
  KF_RETURN_IF_ERROR(r.vault().Stat(fd.get(), &st));
  if (st.st_uid == handle.caller.uid) return r.vault().BeginReencrypt(handle);
  const Status refused(Error::kAccessDenied, "Only its owner may encrypt it anew.");
  (void)r.vault().keys().RecordFileEvent(handle.caller, handle.file->header().key_id,
                                         {"ReencryptFile", handle.path, KeyUse::kWrite},
                                         refused);
  return Status::FromErrno(EPERM, "re-encrypt");
}

Status Reencrypt(Request& r, const InodeRef& inode, Handle& handle,
                 Reencryption* asked) {
  if (handle.use == KeyUse::kRead) return Status::FromErrno(EBADF, "re-encrypt");
  if (asked->bytes == 0) KF_RETURN_IF_ERROR(Begin(r, inode, handle));
  KF_ASSIGN_OR_RETURN(const auto progress,
                      handle.file->Reencrypt(std::min(asked->bytes, kMostReencrypted)));
  asked->done = progress.done;
  asked->total = progress.total;
  asked->finished = progress.finished ? 1 : 0;
  return OkStatus();
}

void IoctlOp(fuse_req_t req, fuse_ino_t node, unsigned command, void*,
             fuse_file_info* fi, unsigned flags, const void* in, size_t in_size,
             size_t out_size) {
  Guard(req, [&](Request& r) {
    Reencryption asked;
    if (command != static_cast<unsigned>(kReencryptIoctl) ||
        (flags & FUSE_IOCTL_DIR) != 0 || in_size != sizeof asked ||
        out_size != sizeof asked)
      return r.Fail(ENOTTY);
    std::memcpy(&asked, in, sizeof asked);
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    const auto& handle = HandleOf(fi);
    if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
    const Status status = Reencrypt(r, inode, *handle, &asked);
    if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
    if (!status.ok()) return RefuseContents(r, *handle, "ReencryptFile", status);
    fuse_reply_ioctl(req, 0, &asked, sizeof asked);
  });
}

}  // namespace

void AddReencryptOperations(fuse_lowlevel_ops* ops) { ops->ioctl = IoctlOp; }

}  // namespace keyfold
