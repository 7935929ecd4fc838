// Space of files: reserving it, holes, and copying from file to file.
#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>

#include "fs/fuse/FileHandle.h"

namespace keyfold {
namespace {

void FallocateOp(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t size,
                 fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const auto& handle = HandleOf(fi);
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
    constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
    const bool zero = (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
    if (mode != kPunch && !zero && mode != 0 && mode != FALLOC_FL_KEEP_SIZE)
      return r.Fail(EOPNOTSUPP);
    const auto from = static_cast<uint64_t>(offset);
    const auto bytes = static_cast<uint64_t>(size);
    File& file = *handle->file;
    Status status = ClearSetId(r, inode);
    if (status.ok() && mode != kPunch) status = file.Reserve(from, bytes, keep_size);
    if (status.ok() && (mode == kPunch || zero))
      status = file.Zero(from, bytes, mode == kPunch);
    if (!status.ok()) return RefuseContents(r, *handle, "WriteFile", status);
    r.Fail(0);
  });
}

void AnswerSeek(fuse_req_t req, const std::shared_ptr<Handle>& handle, off_t offset,
                int whence) {
  Guard(req, [&](Request& r) {
    if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
    auto found = handle->file->Seek(
        static_cast<uint64_t>(offset),
        whence == SEEK_DATA ? File::Seeking::kData : File::Seeking::kHole);
    if (!found.ok()) return RefuseContents(r, *handle, "ReadFile", found.status());
    fuse_reply_lseek(req, static_cast<off_t>(*found));
  });
}

void SeekOp(fuse_req_t req, fuse_ino_t node, off_t offset, int whence,
            fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const auto& handle = HandleOf(fi);
    if (whence != SEEK_DATA && whence != SEEK_HOLE) return r.Fail(EINVAL);
    if (!r.vault().HasWriters(handle->file))
      return AnswerSeek(req, handle, offset, whence);
    // The kernel asks without writing its cache back, where there may be data that
    // the file does not have yet.
    r.fs().flusher.Post([req, node, offset, whence, handle, &fs = r.fs()] {
      (void)fuse_lowlevel_notify_inval_inode(fs.session, node, 0, 0);
      AnswerSeek(req, handle, offset, whence);
    });
  });
}

// CopyOp decrypts and encrypts again, as each file has a key of its own. Each
// piece is read whole before it is written, so that no two files' locks are held
// at once.
void CopyOp(fuse_req_t req, fuse_ino_t, off_t offset_in, fuse_file_info* fi_in,
            fuse_ino_t node_out, off_t offset_out, fuse_file_info* fi_out, size_t size,
            int) {
  Guard(req, [&](Request& r) {
    constexpr size_t kPiece = 1 << 20;
    // A request that is answered with less is repeated for the rest; a thread is
    // not to be kept for minutes.
    constexpr size_t kMost = 16 * kPiece;
    const auto &in = HandleOf(fi_in), &out = HandleOf(fi_out);
    const InodeRef inode = r.Inode(node_out);
    if (!inode) return r.Reply(NoSuchInode());
    Status status = ClearSetId(r, inode);
    size_t done = 0;
    const size_t wanted = std::min(size, kMost);
    while (status.ok() && done < wanted) {
      for (const auto* handle : {&in, &out})
        if (const int lost = (*handle)->lost_errno; lost != 0)
          status = Status::FromErrno(lost, "copy");
      if (!status.ok()) break;
      const MutableBytes piece =
          ThreadBuffer(kPiece).first(std::min(kPiece, wanted - done));
      const WipedAfter wiped(piece);
      auto n = in->file->Read(static_cast<uint64_t>(offset_in) + done, piece);
      if (!n.ok() && done == 0) return RefuseContents(r, *in, "ReadFile", n.status());
      status = n.status();
      if (!n.ok() || *n == 0) break;
      status =
          out->file->Write(static_cast<uint64_t>(offset_out) + done, piece.first(*n));
      if (status.ok()) done += *n;
    }
    if (!status.ok() && done == 0) return RefuseContents(r, *out, "WriteFile", status);
    fuse_reply_write(req, done);
  });
}

}  // namespace

void AddSpaceOperations(fuse_lowlevel_ops* ops) {
  ops->fallocate = FallocateOp;
  ops->lseek = SeekOp;
  ops->copy_file_range = CopyOp;
}

}  // namespace keyfold
