#include <sys/stat.h>

#include "fs/fuse/FileHandle.h"

namespace keyfold {
namespace {

KeyUse UseOf(int flags) {
  return (flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC) ? KeyUse::kRead
                                                               : KeyUse::kWrite;
}

// Opening is a handle on its way to the kernel, closed again if it does not get there.
class Opening {
 public:
  Opening(Vault& vault, std::shared_ptr<Handle> handle, fuse_file_info* fi)
      : closing_(vault, handle),
        kept_(std::make_unique<std::shared_ptr<Handle>>(std::move(handle))) {
    fi->fh = reinterpret_cast<uint64_t>(kept_.get());
    fi->keep_cache = 1;
  }
  // Keep is for when the kernel has it, and may have released it already.
  void Keep() {
    closing_.Keep();
    (void)kept_.release();
  }

 private:
  Closing closing_;
  std::unique_ptr<std::shared_ptr<Handle>> kept_;
};

void DropHandle(Request& r, fuse_file_info* fi) {
  auto* handle = reinterpret_cast<std::shared_ptr<Handle>*>(fi->fh);
  r.vault().Close(*handle);
  delete handle;
}

void CreateOp(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
              fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder || !folder->folder) return r.Reply(NoSuchInode());
    auto made = r.vault().Create({folder->folder, name}, mode, r.user(),
                                 r.inodes().PathOf(folder, name));
    if (!made.ok()) return r.Refuse(made.status(), "CreateFile", folder, name);
    Opening opening(r.vault(), std::move(made->handle), fi);
    fuse_entry_param entry;
    r.Known(std::move(made->fd), made->st, nullptr, folder, name, &entry);
    if (fuse_reply_create(req, &entry, fi) == 0)
      opening.Keep();
    else
      r.inodes().Forget(entry.ino, 1);
  });
}

void OpenOp(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    auto handle = OpenInode(r, inode, UseOf(fi->flags), "OpenFile");
    if (IsPostponed(handle.status()))
      return r.fs().Postpone(
          [req, node, info = *fi]() mutable { OpenOp(req, node, &info); });
    if (!handle.ok()) return r.Refuse(handle.status(), "OpenFile", inode);
    Opening opening(r.vault(), std::move(*handle), fi);
    if (fuse_reply_open(req, fi) == 0) opening.Keep();
  });
}

void ReleaseOp(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const auto& handle = HandleOf(fi);
    if (const InodeRef inode = r.Inode(node); inode && handle->lost_errno == 0)
      inode->size = handle->file->length();
    const bool wrote = handle->use != KeyUse::kRead;
    const Status status = wrote ? handle->file->WriteHeader() : OkStatus();
    if (!status.ok()) spdlog::error("close {}: {}", handle->path, status.message());
    DropHandle(r, fi);
    if (wrote) ForgetAttributes(r, node);
    r.Fail(0);
  });
}

void FsyncOp(fuse_req_t req, fuse_ino_t node, int data_only, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const Status status = HandleOf(fi)->file->Sync(data_only != 0);
    ForgetAttributes(r, node);
    r.Reply(status);
  });
}

void ReadOp(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
            fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const auto& handle = HandleOf(fi);
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
    const MutableBytes buffer = ThreadBuffer(size);
    WipedAfter wiped(buffer);
    if (r.fs().count_reads && !handle->counted.exchange(true))
      handle->file->CountReads();
    auto n = handle->file->Read(static_cast<uint64_t>(offset), buffer);
    if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
    if (!n.ok()) return RefuseContents(r, *handle, "ReadFile", n.status());
    wiped.Only(*n);
    // The kernel would show zeros in place of what a full disk did not take.
    if (*n < size && static_cast<uint64_t>(offset) + *n < inode->lost_end)
      return r.Fail(EIO);
    Up(r.vault().counts().read_bytes, *n);
    fuse_reply_buf(req, reinterpret_cast<const char*>(buffer.data()), *n);
  });
}

void WriteBufOp(fuse_req_t req, fuse_ino_t node, fuse_bufvec* in, off_t offset,
                fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const auto& handle = HandleOf(fi);
    const size_t size = fuse_buf_size(in);
    MutableBytes data;
    if (in->count == 1 && !(in->buf[0].flags & FUSE_BUF_IS_FD)) {
      data = MutableBytes(static_cast<uint8_t*>(in->buf[0].mem), size);
    } else {
      const MutableBytes copy = ThreadBuffer(size);
      fuse_bufvec out = FUSE_BUFVEC_INIT(size);
      out.buf[0].mem = copy.data();
      const ssize_t n = fuse_buf_copy(&out, in, static_cast<fuse_buf_copy_flags>(0));
      if (n < 0) return r.Fail(static_cast<int>(-n));
      data = copy.first(static_cast<size_t>(n));
    }
    const WipedAfter wiped(data);
    if (!fi->writepage) {
      const InodeRef inode = r.Inode(node);
      if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
      // The kernel sends what clears them at once, and never from its cache.
      const Status cleared = inode ? ClearSetId(r, inode) : NoSuchInode();
      if (!cleared.ok()) return r.Reply(cleared);
    }
    // The handle of a write-back is any writer's; the file itself refuses once
    // its key is wiped.
    const Status status = handle->file->Write(static_cast<uint64_t>(offset), data);
    if (!status.ok()) {
      const InodeRef inode = fi->writepage ? r.Inode(node) : nullptr;
      const uint64_t end = static_cast<uint64_t>(offset) + data.size();
      if (inode && end > inode->lost_end) inode->lost_end = end;
      return RefuseContents(r, *handle, "WriteFile", status);
    }
    Up(r.vault().counts().written_bytes, data.size());
    fuse_reply_write(req, data.size());
  });
}

}  // namespace

Status ClearSetId(Request& r, const InodeRef& inode) {
  if (r.caller().uid == 0) return OkStatus();
  KF_ASSIGN_OR_RETURN(const auto fd, r.inodes().Hold(inode));
  return r.vault().ClearSetId(fd.get());
}

void RefuseContents(Request& r, const Handle& handle, const char* event,
                    const Status& status) {
  if (IsDamage(status))
    r.RecordDamage(status, handle.caller, handle.file->header().key_id,
                   {event, handle.path, handle.use});
  r.Reply(status);
}

Result<std::shared_ptr<Handle>> OpenInode(Request& r, const InodeRef& inode, KeyUse use,
                                          const char* event) {
  const std::string path = r.inodes().PathOf(inode);
  auto opened =
      AtPlace(r, inode, [&](const Place& place) -> Result<std::shared_ptr<Handle>> {
        struct stat st;
        KF_ASSIGN_OR_RETURN(const auto fd, r.inodes().Hold(inode));
        KF_RETURN_IF_ERROR(r.vault().Stat(fd.get(), &st));
        // The name may be one that was removed while another still leads here.
        if (!place.folder && st.st_nlink > 0) return NoSuchInode();
        return r.vault().OpenFile(place, fd.get(), r.caller(), use, path, event);
      });
  if (opened.ok() && use == KeyUse::kWrite) r.vault().RefreshKey(**opened);
  // Pages of a file that was taken from someone belong to the old inode: ESTALE
  // makes the kernel look it up again. Asked after the vault, so that a
  // revocation that began meanwhile is seen.
  if (inode->detached) {
    if (opened.ok()) r.vault().Close(*opened);
    return NoSuchInode();
  }
  // The kernel keeps the length it first saw, from the size in the store; only
  // the header is to be believed.
  if (opened.ok() && (*opened)->first &&
      ((*opened)->file->length() != inode->size ||
       (*opened)->file->length() < inode->lost_end)) {
    r.inodes().Detach(inode->ino);
    r.vault().Close(*opened);
    return NoSuchInode();
  }
  return opened;
}

void AddFileOperations(fuse_lowlevel_ops* ops) {
  ops->create = CreateOp;
  ops->open = OpenOp;
  ops->release = ReleaseOp;
  // No FLUSH: the kernel writes its cache back at close and reports what failed; the
  // header follows with RELEASE, in place, where no room is needed.
  ops->fsync = FsyncOp;
  ops->read = ReadOp;
  ops->write_buf = WriteBufOp;
}

}  // namespace keyfold
