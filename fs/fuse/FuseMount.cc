#define FUSE_USE_VERSION 312

#include "fs/fuse/FuseMount.h"

#include <fuse_lowlevel.h>
#include <linux/fs.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include <condition_variable>
#include <cstring>
#include <thread>

#include "fs/fuse/Errno.h"
#include "fs/fuse/InodeTable.h"

namespace keyfold {

struct FuseMount::Impl {
  Vault& vault;
  InodeTable inodes;
  MountOptions options;
  fuse_session* session = nullptr;
  bool mounted = false;

  std::mutex mutex;  // guards changed, stopping
  std::condition_variable wake;
  bool changed = false;
  bool stopping = false;
  std::thread keeper;

  Impl(Vault& v, InodeRef root, MountOptions o)
      : vault(v), inodes(std::move(root)), options(std::move(o)) {}

  void KeepRevocations();
  void Invalidate(ino_t ino);
};

namespace {

// The store is this daemon's alone, so what the kernel caches stays true until
// a request or a notification changes it.
constexpr double kCacheSeconds = 60.0;
constexpr char kKeyXattr[] = "user.keyfold.key";
constexpr char kKeyIdXattr[] = "user.keyfold.key-id";
constexpr char kFolderIdXattr[] = "user.keyfold.folder-id";
constexpr char kSocketXattr[] = "user.keyfold.socket";
constexpr std::string_view kOwnPrefix = "user.keyfold.";
constexpr std::string_view kUserPrefix = "user.";

using Impl = FuseMount::Impl*;

struct OpenFolderHandle {
  DIR* dir = nullptr;
  std::mutex mutex;
  ~OpenFolderHandle() {
    if (dir != nullptr) ::closedir(dir);
  }
};

class Request {
 public:
  explicit Request(fuse_req_t req)
      : req_(req), fs_(*static_cast<FuseMount::Impl*>(fuse_req_userdata(req))) {}

  FuseMount::Impl& fs() { return fs_; }
  Vault& vault() { return fs_.vault; }
  InodeTable& inodes() { return fs_.inodes; }

  Caller caller() const {
    const fuse_ctx* ctx = fuse_req_ctx(req_);
    Caller caller;
    caller.uid = ctx->uid;
    caller.gid = ctx->gid;
    caller.pid = ctx->pid;
    return caller;
  }
  User user() const {
    User user{caller(), {}};
    if (::geteuid() != 0) return user;
    gid_t groups[256];
    int count = fuse_req_getgroups(req_, 256, groups);
    if (count > 256) {
      user.groups.resize(static_cast<size_t>(count));
      count = fuse_req_getgroups(req_, count, user.groups.data());
    } else if (count > 0) {
      user.groups.assign(groups, groups + count);
    }
    return user;
  }

  InodeRef Inode(fuse_ino_t node) { return inodes().Get(node); }
  void Fail(int error) { fuse_reply_err(req_, error); }
  void Reply(const Status& status) { fuse_reply_err(req_, ErrnoOf(status)); }
  fuse_req_t get() { return req_; }

  // Look up `name` in `parent` and fill `entry`; the caller replies, and
  // forgets the lookup again if that fails.
  Status Lookup(const InodeRef& parent, const std::string& name, fuse_entry_param* entry);
  void ReplyEntry(const InodeRef& parent, const char* name);

 private:
  fuse_req_t req_;
  FuseMount::Impl& fs_;
};

Status NoSuchInode() { return Status::FromErrno(ESTALE, "inode"); }

Status Request::Lookup(const InodeRef& parent, const std::string& name,
                       fuse_entry_param* entry) {
  std::memset(entry, 0, sizeof *entry);
  entry->attr_timeout = kCacheSeconds;
  entry->entry_timeout = kCacheSeconds;
  if (!parent->folder) return Status::FromErrno(ENOTDIR, name);
  const Place place{parent->folder, name};
  KF_ASSIGN_OR_RETURN(UniqueFd fd, vault().Find(place, &entry->attr));
  auto fresh = std::make_shared<keyfold::Inode>();
  fresh->ino = entry->attr.st_ino;
  fresh->type = entry->attr.st_mode & S_IFMT;
  const InodeRef known = inodes().Known(fresh->ino);
  if (S_ISDIR(fresh->type)) {
    // Checked at every lookup: a folder moved in the store is noticed even
    // while the kernel knows it under its old name.
    KF_ASSIGN_OR_RETURN(fresh->folder, vault().OpenFolder(place, fd.get()));
  } else if (S_ISREG(fresh->type) && known != nullptr) {
    const Place before = inodes().PlaceOf(known);
    if (before.folder != place.folder || before.name != name)
      KF_RETURN_IF_ERROR(vault().CheckBinding(place, fd.get()));
  }
  fresh->fd = std::move(fd);
  const InodeRef inode = inodes().Add(std::move(fresh), parent, name);
  entry->ino = inode->node;
  entry->generation = 1;
  return OkStatus();
}

void Request::ReplyEntry(const InodeRef& parent, const char* name) {
  fuse_entry_param entry;
  const Status status = Lookup(parent, name, &entry);
  if (!status.ok()) return Reply(status);
  if (fuse_reply_entry(req_, &entry) != 0) inodes().Forget(entry.ino, 1);
}

std::shared_ptr<Handle>& HandleOf(fuse_file_info* fi) {
  return *reinterpret_cast<std::shared_ptr<Handle>*>(fi->fh);
}

// Guard turns a callback body into one that never throws into libfuse's C.
template <typename Body>
void Guard(fuse_req_t req, Body&& body) noexcept {
  try {
    Request request(req);
    body(request);
  } catch (const std::bad_alloc&) {
    fuse_reply_err(req, ENOMEM);
  } catch (const std::exception& error) {
    spdlog::error("unexpected failure: {}", error.what());
    fuse_reply_err(req, EIO);
  }
}

void Init(void* userdata, fuse_conn_info* conn) {
  auto& fs = *static_cast<FuseMount::Impl*>(userdata);
  for (unsigned wanted : {FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_PARALLEL_DIROPS,
                          FUSE_CAP_READDIRPLUS, FUSE_CAP_READDIRPLUS_AUTO,
                          FUSE_CAP_ASYNC_READ, FUSE_CAP_FLOCK_LOCKS,
                          FUSE_CAP_CACHE_SYMLINKS})
    if (conn->capable & wanted) conn->want |= wanted;
  // Locks stay in the kernel; the vault keeps none, so do not ask for them.
  conn->want &= ~(FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_SPLICE_READ |
                  FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_ATOMIC_O_TRUNC |
                  FUSE_CAP_AUTO_INVAL_DATA);
  conn->max_write = 1 << 20;
  conn->max_read = 1 << 20;
  conn->max_background = 64;
  conn->congestion_threshold = 48;
  (void)fs;
}

void LookupOp(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder) return r.Reply(NoSuchInode());
    fuse_entry_param entry;
    const Status status = r.Lookup(folder, name, &entry);
    if (status.sys_errno() == ENOENT) {
      std::memset(&entry, 0, sizeof entry);
      entry.entry_timeout = kCacheSeconds;  // remembered as absent
    } else if (!status.ok()) {
      return r.Reply(status);
    }
    if (fuse_reply_entry(req, &entry) != 0 && entry.ino != 0)
      r.inodes().Forget(entry.ino, 1);
  });
}

void ForgetOp(fuse_req_t req, fuse_ino_t node, uint64_t count) {
  static_cast<FuseMount::Impl*>(fuse_req_userdata(req))->inodes.Forget(node, count);
  fuse_reply_none(req);
}

void ForgetMultiOp(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
  auto& fs = *static_cast<FuseMount::Impl*>(fuse_req_userdata(req));
  for (size_t i = 0; i < count; ++i) fs.inodes.Forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(req);
}

void GetAttrOp(fuse_req_t req, fuse_ino_t node, fuse_file_info*) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    struct stat st;
    const Status status = r.vault().Stat(inode->fd.get(), &st);
    if (!status.ok()) return r.Reply(status);
    fuse_reply_attr(req, &st, kCacheSeconds);
  });
}

Status TruncateTo(Request& r, const InodeRef& inode, fuse_file_info* fi, uint64_t length) {
  if (length > INT64_MAX) return Status::FromErrno(EFBIG, "truncate");
  if (fi != nullptr) {
    const auto& handle = HandleOf(fi);
    if (handle->lost_errno != 0) return Status::FromErrno(handle->lost_errno, "truncate");
    if (handle->use == KeyUse::kRead) return Status::FromErrno(EINVAL, "truncate");
    return handle->file->Truncate(length);
  }
  KF_ASSIGN_OR_RETURN(
      auto handle,
      r.vault().OpenFile(r.inodes().PlaceOf(inode), inode->fd.get(), r.caller(),
                         KeyUse::kWrite, r.inodes().PathOf(inode), "TruncateFile"));
  const Status status = handle->file->Truncate(length);
  r.vault().Close(handle);
  return status;
}

Status SetAttributes(Request& r, const InodeRef& inode, const struct stat& attr,
                     int to_set, fuse_file_info* fi) {
  const std::string path = FdPath(inode->fd.get());
  if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) {
    const uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr.st_uid : static_cast<uid_t>(-1);
    const gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr.st_gid : static_cast<gid_t>(-1);
    if (::fchownat(inode->fd.get(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0)
      return Status::FromErrno(errno, "chown");
  }
  if (to_set & FUSE_SET_ATTR_MODE) {
    if (S_ISLNK(inode->type)) return Status::FromErrno(EOPNOTSUPP, "chmod");
    if (::chmod(path.c_str(), attr.st_mode & 07777) != 0)
      return Status::FromErrno(errno, "chmod");
  }
  if (to_set & FUSE_SET_ATTR_SIZE)
    KF_RETURN_IF_ERROR(TruncateTo(r, inode, fi, static_cast<uint64_t>(attr.st_size)));
  if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) {
    timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    if (to_set & FUSE_SET_ATTR_ATIME_NOW) times[0].tv_nsec = UTIME_NOW;
    else if (to_set & FUSE_SET_ATTR_ATIME) times[0] = attr.st_atim;
    if (to_set & FUSE_SET_ATTR_MTIME_NOW) times[1].tv_nsec = UTIME_NOW;
    else if (to_set & FUSE_SET_ATTR_MTIME) times[1] = attr.st_mtim;
    if (::utimensat(inode->fd.get(), "", times, AT_EMPTY_PATH) != 0)
      return Status::FromErrno(errno, "utimens");
  }
  return OkStatus();
}

void SetAttrOp(fuse_req_t req, fuse_ino_t node, struct stat* attr, int to_set,
               fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    Status status = SetAttributes(r, inode, *attr, to_set, fi);
    if (!status.ok()) return r.Reply(status);
    struct stat st;
    status = r.vault().Stat(inode->fd.get(), &st);
    if (!status.ok()) return r.Reply(status);
    fuse_reply_attr(req, &st, kCacheSeconds);
  });
}

void ReadLinkOp(fuse_req_t req, fuse_ino_t node) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    auto target = r.vault().ReadSymlink(r.inodes().PlaceOf(inode), inode->fd.get());
    if (!target.ok()) return r.Reply(target.status());
    fuse_reply_readlink(req, target->c_str());
  });
}

// Make runs `action` on the place and answers with the new entry.
template <typename Action>
void Make(fuse_req_t req, fuse_ino_t parent, const char* name, Action&& action) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder || !folder->folder) return r.Reply(NoSuchInode());
    const Status status = action(r, folder, Place{folder->folder, name});
    if (!status.ok()) return r.Reply(status);
    r.ReplyEntry(folder, name);
  });
}

void MkNodOp(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t dev) {
  Make(req, parent, name, [&](Request& r, const InodeRef& folder, const Place& place) -> Status {
    if (!S_ISREG(mode)) return r.vault().MakeNode(place, mode, dev, r.user());
    KF_ASSIGN_OR_RETURN(auto handle,
                        r.vault().Create(place, mode, r.user(), KeyUse::kWrite,
                                         r.inodes().PathOf(folder, name)));
    r.vault().Close(handle);
    return OkStatus();
  });
}

void MkDirOp(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  Make(req, parent, name, [&](Request& r, const InodeRef&, const Place& place) {
    return r.vault().MakeFolder(place, mode, r.user());
  });
}

void SymlinkOp(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  Make(req, parent, name, [&](Request& r, const InodeRef&, const Place& place) {
    return r.vault().MakeSymlink(place, target, r.user());
  });
}

void LinkOp(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  Make(req, parent, name, [&](Request& r, const InodeRef&, const Place& place) -> Status {
    const InodeRef inode = r.Inode(node);
    if (!inode) return NoSuchInode();
    return r.vault().Link(r.inodes().PlaceOf(inode), inode->fd.get(), place, r.user());
  });
}

void UnlinkOp(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder || !folder->folder) return r.Reply(NoSuchInode());
    r.Reply(r.vault().Unlink({folder->folder, name}));
  });
}

void RmDirOp(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Guard(req, [&](Request& r) {
    const InodeRef folder = r.Inode(parent);
    if (!folder || !folder->folder) return r.Reply(NoSuchInode());
    r.Reply(r.vault().RemoveFolder({folder->folder, name}));
  });
}

void RenameOp(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
              const char* new_name, unsigned flags) {
  Guard(req, [&](Request& r) {
    const InodeRef from = r.Inode(parent), to = r.Inode(new_parent);
    if (!from || !from->folder || !to || !to->folder) return r.Reply(NoSuchInode());
    const Place source{from->folder, name}, target{to->folder, new_name};
    struct stat moved, replaced;
    auto moved_fd = r.vault().Find(source, &moved);
    if (!moved_fd.ok()) return r.Reply(moved_fd.status());
    const bool exchange = flags & RENAME_EXCHANGE;
    const bool other = exchange && r.vault().Find(target, &replaced).ok();
    const Status status = r.vault().Rename(source, target, flags);
    if (status.ok()) {
      r.inodes().Renamed(moved.st_ino, to, new_name);
      if (other) r.inodes().Renamed(replaced.st_ino, from, name);
    }
    r.Reply(status);
  });
}

KeyUse UseOf(int flags) {
  return (flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC) ? KeyUse::kRead
                                                               : KeyUse::kWrite;
}

void PrepareHandle(fuse_file_info* fi, std::shared_ptr<Handle> handle) {
  fi->fh = reinterpret_cast<uint64_t>(new std::shared_ptr<Handle>(std::move(handle)));
  fi->keep_cache = 1;
  fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
}

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
    const Place place{folder->folder, name};
    auto handle = r.vault().Create(place, mode, r.user(), KeyUse::kWrite,
                                   r.inodes().PathOf(folder, name));
    if (!handle.ok()) return r.Reply(handle.status());
    PrepareHandle(fi, std::move(*handle));
    fuse_entry_param entry;
    const Status status = r.Lookup(folder, name, &entry);
    if (!status.ok()) {
      DropHandle(r, fi);
      return r.Reply(status);
    }
    if (fuse_reply_create(req, &entry, fi) != 0) {
      DropHandle(r, fi);
      r.inodes().Forget(entry.ino, 1);
    }
  });
}

void OpenOp(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    auto handle = r.vault().OpenFile(r.inodes().PlaceOf(inode), inode->fd.get(), r.caller(),
                                     UseOf(fi->flags), r.inodes().PathOf(inode));
    if (!handle.ok()) return r.Reply(handle.status());
    PrepareHandle(fi, std::move(*handle));
    if (fuse_reply_open(req, fi) != 0) DropHandle(r, fi);
  });
}

void ReleaseOp(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    DropHandle(r, fi);
    r.Fail(0);
  });
}

void FlushOp(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const auto& handle = HandleOf(fi);
    r.Reply(handle->use == KeyUse::kRead || handle->lost_errno != 0
                ? OkStatus() : handle->file->WriteHeader());
  });
}

void FsyncOp(fuse_req_t req, fuse_ino_t, int data_only, fuse_file_info* fi) {
  Guard(req, [&](Request& r) { r.Reply(HandleOf(fi)->file->Sync(data_only != 0)); });
}

// Each FUSE thread keeps one buffer for the largest request.
MutableBytes ThreadBuffer(size_t size) {
  thread_local Bytes buffer;
  if (buffer.size() < size) buffer.resize(size);
  return MutableBytes(buffer.data(), size);
}

void RecordDamage(Request& r, const Handle& handle, const char* event, const Status& status) {
  if (status.error() != Error::kCorrupt) return;
  spdlog::error("{}: {}", handle.path, status.message());
  (void)r.vault().keys().RecordFileEvent(handle.caller, handle.file->header().key_id,
                                         {event, handle.path, handle.use}, status);
}

void ReadOp(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const auto& handle = HandleOf(fi);
    if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
    const MutableBytes buffer = ThreadBuffer(size);
    auto n = handle->file->Read(static_cast<uint64_t>(offset), buffer);
    if (handle->lost_errno != 0) return r.Fail(handle->lost_errno);
    if (!n.ok()) {
      RecordDamage(r, *handle, "ReadFile", n.status());
      return r.Reply(n.status());
    }
    fuse_reply_buf(req, reinterpret_cast<const char*>(buffer.data()), *n);
  });
}

void WriteBufOp(fuse_req_t req, fuse_ino_t, fuse_bufvec* in, off_t offset,
                fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const auto& handle = HandleOf(fi);
    const size_t size = fuse_buf_size(in);
    ByteView data;
    if (in->count == 1 && !(in->buf[0].flags & FUSE_BUF_IS_FD)) {
      data = ByteView(static_cast<const uint8_t*>(in->buf[0].mem), size);
    } else {
      const MutableBytes copy = ThreadBuffer(size);
      fuse_bufvec out = FUSE_BUFVEC_INIT(size);
      out.buf[0].mem = copy.data();
      const ssize_t n = fuse_buf_copy(&out, in, static_cast<fuse_buf_copy_flags>(0));
      if (n < 0) return r.Fail(static_cast<int>(-n));
      data = copy.first(static_cast<size_t>(n));
    }
    // The handle of a write-back is any writer's; the file itself refuses once
    // its key is wiped.
    const Status status = handle->file->Write(static_cast<uint64_t>(offset), data);
    if (!status.ok()) {
      RecordDamage(r, *handle, "WriteFile", status);
      return r.Reply(status);
    }
    fuse_reply_write(req, data.size());
  });
}

void OpenDirOp(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode || !inode->folder) return r.Reply(NoSuchInode());
    const int fd = ::openat(inode->folder->fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return r.Fail(errno);
    auto handle = std::make_unique<OpenFolderHandle>();
    handle->dir = ::fdopendir(fd);
    if (handle->dir == nullptr) {
      ::close(fd);
      return r.Fail(ENOMEM);
    }
    fi->fh = reinterpret_cast<uint64_t>(handle.release());
    fi->cache_readdir = 1;
    fi->keep_cache = 1;
    if (fuse_reply_open(req, fi) != 0) delete reinterpret_cast<OpenFolderHandle*>(fi->fh);
  });
}

void ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
             fuse_file_info* fi, bool plus) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode || !inode->folder) return r.Reply(NoSuchInode());
    auto& handle = *reinterpret_cast<OpenFolderHandle*>(fi->fh);
    std::lock_guard lock(handle.mutex);
    const MutableBytes buffer = ThreadBuffer(size);
    char* out = reinterpret_cast<char*>(buffer.data());
    size_t used = 0;
    const Status status = r.vault().List(
        *inode->folder, handle.dir, offset,
        [&](const std::string& name, const struct dirent& entry) {
          size_t need = 0;
          const bool dots = name == "." || name == "..";
          if (!plus) {
            struct stat st{};
            st.st_ino = entry.d_ino;
            st.st_mode = static_cast<mode_t>(DTTOIF(entry.d_type));
            need = fuse_add_direntry(req, out + used, size - used, name.c_str(), &st,
                                     entry.d_off);
            if (need > size - used) return false;
          } else {
            fuse_entry_param param;
            std::memset(&param, 0, sizeof param);
            if (dots || !r.Lookup(inode, name, &param).ok()) {
              std::memset(&param, 0, sizeof param);
              param.attr.st_ino = entry.d_ino;
              param.attr.st_mode = static_cast<mode_t>(DTTOIF(entry.d_type));
            }
            need = fuse_add_direntry_plus(req, out + used, size - used, name.c_str(),
                                          &param, entry.d_off);
            if (need > size - used) {
              if (param.ino != 0) r.inodes().Forget(param.ino, 1);
              return false;
            }
          }
          used += need;
          return true;
        });
    if (!status.ok() && used == 0) return r.Reply(status);
    fuse_reply_buf(req, out, used);
  });
}

void ReadDirOp(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, fuse_file_info* fi) {
  ReadDir(req, node, size, off, fi, false);
}
void ReadDirPlusOp(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                   fuse_file_info* fi) {
  ReadDir(req, node, size, off, fi, true);
}

void ReleaseDirOp(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  delete reinterpret_cast<OpenFolderHandle*>(fi->fh);
  fuse_reply_err(req, 0);
}

void FsyncDirOp(fuse_req_t req, fuse_ino_t node, int, fuse_file_info*) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode || !inode->folder) return r.Reply(NoSuchInode());
    r.Fail(::fsync(inode->folder->fd()) == 0 ? 0 : errno);
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

// KeyfoldXattr answers the attributes by which the mount describes itself.
Result<std::string> KeyfoldXattr(Request& r, const InodeRef& inode, std::string_view name) {
  const Status absent = Status::FromErrno(ENODATA, "xattr");
  if (name == kSocketXattr && inode->parent == nullptr) return r.fs().options.socket_path;
  if (name == kFolderIdXattr && inode->folder) return inode->folder->id().Hex();
  if (name != kKeyXattr && name != kKeyIdXattr) return absent;
  std::string key_id;
  if (inode->folder) {
    key_id = inode->folder->key_id();
  } else if (S_ISREG(inode->type)) {
    KF_ASSIGN_OR_RETURN(key_id, r.vault().FileKey(inode->fd.get()));
  } else {
    return absent;
  }
  return name == kKeyIdXattr ? key_id : r.vault().keys().KeyLabel(key_id);
}

Result<Bytes> GetAnyXattr(Request& r, const InodeRef& inode, const std::string& name) {
  if (name.starts_with(kOwnPrefix)) {
    KF_ASSIGN_OR_RETURN(std::string value, KeyfoldXattr(r, inode, name));
    return Bytes(value.begin(), value.end());
  }
  if (!name.starts_with(kUserPrefix)) return Status::FromErrno(ENODATA, "xattr");
  return r.vault().GetUserXattr(inode->fd.get(), name.substr(kUserPrefix.size()));
}

void ReplyXattr(fuse_req_t req, size_t size, ByteView value) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size());
  } else if (value.size() > size) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, reinterpret_cast<const char*>(value.data()), value.size());
  }
}

void GetXattrOp(fuse_req_t req, fuse_ino_t node, const char* name, size_t size) {
  // The kernel asks before each write; the vault holds no file capabilities.
  if (std::strcmp(name, "security.capability") == 0) {
    fuse_reply_err(req, ENODATA);
    return;
  }
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    auto value = GetAnyXattr(r, inode, name);
    if (!value.ok()) return r.Reply(value.status());
    ReplyXattr(req, size, *value);
  });
}

void SetXattrOp(fuse_req_t req, fuse_ino_t node, const char* raw_name, const char* value,
                size_t size, int flags) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    const std::string name = raw_name;
    if (name == kKeyXattr) {
      // Binding to a key is for the owner, whatever the mode bits say.
      struct stat st;
      Status status = r.vault().Stat(inode->fd.get(), &st);
      if (status.ok() && st.st_uid != r.caller().uid)
        status = Status::FromErrno(EPERM, "set-key");
      if (!status.ok()) return r.Reply(status);
      const std::string key(value, size), path = r.inodes().PathOf(inode);
      const Place place = r.inodes().PlaceOf(inode);
      if (inode->folder)
        return r.Reply(
            r.vault().SetFolderKey(place, *inode->folder, key, r.caller(), path));
      if (!S_ISREG(inode->type)) return r.Fail(EOPNOTSUPP);
      status = r.vault().SetFileKey(place, inode->fd.get(), key, r.caller(), path);
      return r.Reply(status);
    }
    if (name.starts_with(kOwnPrefix)) return r.Fail(EPERM);
    if (!name.starts_with(kUserPrefix)) return r.Fail(EOPNOTSUPP);
    r.Reply(r.vault().SetUserXattr(inode->fd.get(), name.substr(kUserPrefix.size()),
                                   ByteView(reinterpret_cast<const uint8_t*>(value), size),
                                   flags));
  });
}

void ListXattrOp(fuse_req_t req, fuse_ino_t node, size_t size) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    auto names = r.vault().ListUserXattrs(inode->fd.get());
    if (!names.ok()) return r.Reply(names.status());
    std::string list;
    for (const std::string& name : *names) list += std::string(kUserPrefix) + name + '\0';
    ReplyXattr(req, size, AsBytes(list));
  });
}

void RemoveXattrOp(fuse_req_t req, fuse_ino_t node, const char* raw_name) {
  Guard(req, [&](Request& r) {
    const InodeRef inode = r.Inode(node);
    if (!inode) return r.Reply(NoSuchInode());
    const std::string name = raw_name;
    if (name.starts_with(kOwnPrefix)) return r.Fail(EPERM);
    if (!name.starts_with(kUserPrefix)) return r.Fail(ENODATA);
    r.Reply(r.vault().RemoveUserXattr(inode->fd.get(), name.substr(kUserPrefix.size())));
  });
}

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops ops{};
  ops.init = Init;
  ops.lookup = LookupOp;
  ops.forget = ForgetOp;
  ops.forget_multi = ForgetMultiOp;
  ops.getattr = GetAttrOp;
  ops.setattr = SetAttrOp;
  ops.readlink = ReadLinkOp;
  ops.mknod = MkNodOp;
  ops.mkdir = MkDirOp;
  ops.symlink = SymlinkOp;
  ops.link = LinkOp;
  ops.unlink = UnlinkOp;
  ops.rmdir = RmDirOp;
  ops.rename = RenameOp;
  ops.create = CreateOp;
  ops.open = OpenOp;
  ops.release = ReleaseOp;
  ops.flush = FlushOp;
  ops.fsync = FsyncOp;
  ops.read = ReadOp;
  ops.write_buf = WriteBufOp;
  ops.opendir = OpenDirOp;
  ops.readdir = ReadDirOp;
  ops.readdirplus = ReadDirPlusOp;
  ops.releasedir = ReleaseDirOp;
  ops.fsyncdir = FsyncDirOp;
  ops.statfs = StatFsOp;
  ops.getxattr = GetXattrOp;
  ops.setxattr = SetXattrOp;
  ops.listxattr = ListXattrOp;
  ops.removexattr = RemoveXattrOp;
  return ops;
}

}  // namespace

// Invalidate takes a file out of the kernel's caches: dirty pages arrive as
// writes meanwhile, and later lookups get an inode of its own.
void FuseMount::Impl::Invalidate(ino_t ino) {
  const InodeRef inode = inodes.Detach(ino);
  if (!inode) return;
  (void)fuse_lowlevel_notify_inval_inode(session, inode->node, 0, 0);
  if (inode->parent)
    (void)fuse_lowlevel_notify_inval_entry(session, inode->parent->node,
                                           inode->name.c_str(), inode->name.size());
}

// KeepRevocations runs on a thread that serves no request, since the kernel's
// invalidation waits for write-back.
void FuseMount::Impl::KeepRevocations() {
  std::unique_lock lock(mutex);
  while (!stopping) {
    const bool woken = wake.wait_for(lock, std::chrono::seconds(5),
                                     [&] { return changed || stopping; });
    if (stopping) return;
    const bool revoke = woken && changed;
    changed = false;
    lock.unlock();
    if (revoke) {
      vault.Revoke([this](ino_t ino) { Invalidate(ino); });
    } else {
      vault.FlushAll();
    }
    lock.lock();
  }
}

FuseMount::FuseMount() = default;

Result<std::unique_ptr<FuseMount>> FuseMount::Create(Vault& vault,
                                                     const MountOptions& options) {
  auto root = std::make_shared<Inode>();
  root->node = FUSE_ROOT_ID;
  root->folder = vault.root();
  root->lookups = 1;
  root->type = S_IFDIR;
  const int fd = ::openat(vault.root()->fd(), ".", O_PATH | O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, "open the tree");
  root->fd = UniqueFd(fd);
  struct stat st;
  KF_RETURN_IF_ERROR(vault.Stat(fd, &st));
  root->ino = st.st_ino;

  std::unique_ptr<FuseMount> mount(new FuseMount);
  mount->impl_ = std::make_unique<Impl>(vault, std::move(root), options);
  std::string flags = "default_permissions,subtype=keyfold,max_read=1048576,fsname=" +
                      options.source;
  if (::geteuid() == 0) flags += ",allow_other";
  for (const std::string& option : options.options) flags += "," + option;
  std::vector<const char*> argv = {"keyfold", "-o", flags.c_str()};
  if (options.debug) argv.push_back("-d");
  fuse_args args = FUSE_ARGS_INIT(static_cast<int>(argv.size()),
                                  const_cast<char**>(argv.data()));
  const fuse_lowlevel_ops ops = Operations();
  mount->impl_->session = fuse_session_new(&args, &ops, sizeof ops, mount->impl_.get());
  fuse_opt_free_args(&args);
  if (mount->impl_->session == nullptr)
    return Status(Error::kUsage, "unknown mount option among: " + flags);
  if (fuse_session_mount(mount->impl_->session, options.mountpoint.c_str()) != 0)
    return Status::FromErrno(errno == 0 ? EIO : errno, "mount on " + options.mountpoint);
  mount->impl_->mounted = true;
  return mount;
}

Status FuseMount::Run() {
  Impl& impl = *impl_;
  ::umask(0);
  if (fuse_set_signal_handlers(impl.session) != 0)
    return Status(Error::kInternal, "cannot set signal handlers");
  impl.vault.keys().SetChangeListener([&impl] {
    std::lock_guard lock(impl.mutex);
    impl.changed = true;
    impl.wake.notify_one();
  });
  impl.keeper = std::thread([&impl] { impl.KeepRevocations(); });
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, 16);
  fuse_loop_cfg_set_idle_threads(config, 16);
  const int result = fuse_session_loop_mt(impl.session, config);
  fuse_loop_cfg_destroy(config);
  impl.vault.keys().SetChangeListener({});
  {
    std::lock_guard lock(impl.mutex);
    impl.stopping = true;
    impl.wake.notify_one();
  }
  impl.keeper.join();
  impl.vault.FlushAll();
  fuse_remove_signal_handlers(impl.session);
  return result < 0 ? Status::FromErrno(-result, "serve requests") : OkStatus();
}

void FuseMount::Stop() { fuse_session_exit(impl_->session); }

FuseMount::~FuseMount() {
  if (!impl_ || impl_->session == nullptr) return;
  if (impl_->mounted) fuse_session_unmount(impl_->session);
  fuse_session_destroy(impl_->session);
}

}  // namespace keyfold
