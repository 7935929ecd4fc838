#include <dirent.h>
#include <sys/stat.h>

#include <cstring>

#include "fs/fuse/Request.h"

namespace keyfold {
namespace {

struct OpenFolder {
  DIR* dir = nullptr;
  std::mutex mutex;
  ~OpenFolder() {
    if (dir != nullptr) ::closedir(dir);
  }
};

void OpenDirOp(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode || !inode->folder) return r.Reply(NoSuchInode());
    const int fd =
        ::openat(inode->folder->fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return r.Reply(Status::FromErrno(errno, "open folder"));
    auto handle = std::make_unique<OpenFolder>();
    handle->dir = ::fdopendir(fd);
    if (handle->dir == nullptr) {
      ::close(fd);
      return r.Fail(ENOMEM);
    }
    fi->fh = reinterpret_cast<uint64_t>(handle.release());
    fi->cache_readdir = 1;
    fi->keep_cache = 1;
    if (fuse_reply_open(req, fi) != 0) delete reinterpret_cast<OpenFolder*>(fi->fh);
  });
}

// Fill adds entries from `offset` on until the buffer is full, and returns the
// bytes used. With `plus` each is looked up too, which counts for the kernel.
Result<size_t> Fill(Request& r, const InodeRef& inode, OpenFolder& open, off_t offset,
                    MutableBytes buffer, bool plus) {
  char* out = reinterpret_cast<char*>(buffer.data());
  size_t used = 0;
  auto add = [&](const std::string& name, const struct dirent& entry) {
    const size_t room = buffer.size() - used;
    fuse_entry_param param;
    std::memset(&param, 0, sizeof param);
    const bool dots = name == "." || name == "..";
    if (!plus || dots || !r.Lookup(inode, name, &param).ok()) {
      std::memset(&param, 0, sizeof param);
      param.attr.st_ino = entry.d_ino;
      param.attr.st_mode = static_cast<mode_t>(DTTOIF(entry.d_type));
    }
    const size_t need = plus
                            ? fuse_add_direntry_plus(r.get(), out + used, room,
                                                     name.c_str(), &param, entry.d_off)
                            : fuse_add_direntry(r.get(), out + used, room, name.c_str(),
                                                &param.attr, entry.d_off);
    if (need > room) {
      if (param.ino != 0) r.inodes().Forget(param.ino, 1);
      return false;
    }
    used += need;
    return true;
  };
  std::lock_guard lock(open.mutex);
  const Status status = r.vault().List(*inode->folder, open.dir, offset, add);
  if (!status.ok() && used == 0) return status;
  return used;
}

void ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
             fuse_file_info* fi, bool plus) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode || !inode->folder) return r.Reply(NoSuchInode());
    const MutableBytes buffer = ThreadBuffer(size);
    auto used =
        Fill(r, inode, *reinterpret_cast<OpenFolder*>(fi->fh), offset, buffer, plus);
    // Once answered, the folder may be closed and freed by another thread.
    if (!used.ok()) return r.Reply(used.status());
    fuse_reply_buf(req, reinterpret_cast<const char*>(buffer.data()), *used);
  });
}

void ReadDirOp(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
               fuse_file_info* fi) {
  ReadDir(req, node, size, off, fi, false);
}
void ReadDirPlusOp(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                   fuse_file_info* fi) {
  ReadDir(req, node, size, off, fi, true);
}

void ReleaseDirOp(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  delete reinterpret_cast<OpenFolder*>(fi->fh);
  fuse_reply_err(req, 0);
}

void FsyncDirOp(fuse_req_t req, fuse_ino_t node, int, fuse_file_info*) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode || !inode->folder) return r.Reply(NoSuchInode());
    r.Reply(SyncFolder(inode->folder->fd()));
  });
}

}  // namespace

void AddFolderOperations(fuse_lowlevel_ops* ops) {
  ops->opendir = OpenDirOp;
  ops->readdir = ReadDirOp;
  ops->readdirplus = ReadDirPlusOp;
  ops->releasedir = ReleaseDirOp;
  ops->fsyncdir = FsyncDirOp;
}

}  // namespace keyfold
