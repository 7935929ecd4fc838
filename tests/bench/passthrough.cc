// passthrough: a folder shown through FUSE as it is, to know what FUSE costs.
//
//   passthrough SOURCE MOUNTPOINT      serves until unmounted
//
// The front is Keyfold's (fs/fuse/FuseMount.cc): libfuse's low-level API with the same
// flags, cache times, sizes of requests and threads; behind it are plain system calls.
// Meant for measuring only: one filesystem below SOURCE, no
// hostile callers. Change it when FuseMount.cc changes.
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

constexpr unsigned kMaxRequest = 1 << 20;
constexpr double kCacheSeconds = 60.0;

struct Node {
  int fd = -1;
  ino_t ino = 0;
  uint64_t lookups = 0;
};

// A node's number is its address; the root's is FUSE_ROOT_ID.
std::mutex nodes_mutex;
std::unordered_map<ino_t, Node*> nodes;  // guarded by nodes_mutex, lookups too
Node root;

int FdOf(fuse_ino_t node) {
  return node == FUSE_ROOT_ID ? root.fd : reinterpret_cast<Node*>(node)->fd;
}

std::string PathOf(fuse_ino_t node) {
  return "/proc/self/fd/" + std::to_string(FdOf(node));
}

void Answer(fuse_req_t req, int result) {
  fuse_reply_err(req, result == 0 ? 0 : errno);
}

// AsCaller makes what is created belong to the caller.
class AsCaller {
 public:
  explicit AsCaller(fuse_req_t req) : switched_(fuse_req_ctx(req)->uid != 0) {
    if (!switched_) return;
    ::setfsgid(fuse_req_ctx(req)->gid);
    ::setfsuid(fuse_req_ctx(req)->uid);
  }
  ~AsCaller() {
    const int error = errno;
    if (switched_) {
      ::setfsuid(0);
      ::setfsgid(0);
    }
    errno = error;
  }

 private:
  bool switched_;
};

void Forget(fuse_ino_t number, uint64_t count) {
  if (number == FUSE_ROOT_ID) return;
  auto* node = reinterpret_cast<Node*>(number);
  std::lock_guard lock(nodes_mutex);
  node->lookups -= count;
  if (node->lookups > 0) return;
  nodes.erase(node->ino);
  ::close(node->fd);
  delete node;
}

bool Lookup(fuse_ino_t parent, const char* name, fuse_entry_param* entry) {
  std::memset(entry, 0, sizeof *entry);
  const int fd = ::openat(FdOf(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  ::fstatat(fd, "", &entry->attr, AT_EMPTY_PATH);
  entry->attr_timeout = entry->entry_timeout = kCacheSeconds;
  std::lock_guard lock(nodes_mutex);
  Node*& node = nodes[entry->attr.st_ino];
  if (node == nullptr)
    node = new Node{fd, entry->attr.st_ino, 0};
  else
    ::close(fd);
  ++node->lookups;
  entry->ino = reinterpret_cast<fuse_ino_t>(node);
  return true;
}

void ReplyEntry(fuse_req_t req, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry;
  if (!Lookup(parent, name, &entry)) {
    if (errno != ENOENT) return Answer(req, -1);
    entry.entry_timeout = kCacheSeconds;  // remembered as absent
  }
  fuse_reply_entry(req, &entry);
}

char* ThreadBuffer() {
  thread_local std::unique_ptr<char[]> buffer(new char[kMaxRequest]);
  return buffer.get();
}

// Names.

void ForgetOp(fuse_req_t req, fuse_ino_t node, uint64_t count) {
  Forget(node, count);
  fuse_reply_none(req);
}

void ForgetMultiOp(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) Forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(req);
}

void ReadLinkOp(fuse_req_t req, fuse_ino_t node) {
  char target[PATH_MAX];
  const ssize_t n = ::readlinkat(FdOf(node), "", target, sizeof target - 1);
  if (n < 0) return Answer(req, -1);
  target[n] = '\0';
  fuse_reply_readlink(req, target);
}

void ReplyMade(fuse_req_t req, int result, fuse_ino_t parent, const char* name) {
  if (result != 0) return Answer(req, result);
  ReplyEntry(req, parent, name);
}

int AsCallerMake(fuse_req_t req, auto&& make) {
  AsCaller as_caller(req);
  return make();
}

void MkNodOp(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
             dev_t dev) {
  const int made =
      AsCallerMake(req, [&] { return ::mknodat(FdOf(parent), name, mode, dev); });
  ReplyMade(req, made, parent, name);
}

void MkDirOp(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  const int made =
      AsCallerMake(req, [&] { return ::mkdirat(FdOf(parent), name, mode); });
  ReplyMade(req, made, parent, name);
}

void SymlinkOp(fuse_req_t req, const char* target, fuse_ino_t parent,
               const char* name) {
  const int made =
      AsCallerMake(req, [&] { return ::symlinkat(target, FdOf(parent), name); });
  ReplyMade(req, made, parent, name);
}

void LinkOp(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  const int made =
      ::linkat(AT_FDCWD, PathOf(node).c_str(), FdOf(parent), name, AT_SYMLINK_FOLLOW);
  ReplyMade(req, made, parent, name);
}

void UnlinkOp(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Answer(req, ::unlinkat(FdOf(parent), name, 0));
}

void RmDirOp(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Answer(req, ::unlinkat(FdOf(parent), name, AT_REMOVEDIR));
}

void RenameOp(fuse_req_t req, fuse_ino_t parent, const char* name,
              fuse_ino_t new_parent, const char* new_name, unsigned flags) {
  Answer(req, ::renameat2(FdOf(parent), name, FdOf(new_parent), new_name, flags));
}

// Attributes.

void ReplyAttributes(fuse_req_t req, fuse_ino_t node) {
  struct stat st;
  if (::fstatat(FdOf(node), "", &st, AT_EMPTY_PATH) != 0) return Answer(req, -1);
  fuse_reply_attr(req, &st, kCacheSeconds);
}

void GetAttrOp(fuse_req_t req, fuse_ino_t node, fuse_file_info*) {
  ReplyAttributes(req, node);
}

timespec TimeToSet(int to_set, int now, int given, const timespec& value) {
  if (to_set & now) return {0, UTIME_NOW};
  return to_set & given ? value : timespec{0, UTIME_OMIT};
}

void SetAttrOp(fuse_req_t req, fuse_ino_t node, struct stat* attr, int to_set,
               fuse_file_info*) {
  const int fd = FdOf(node);
  int result = 0;
  if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
    result = ::fchownat(
        fd, "", to_set & FUSE_SET_ATTR_UID ? attr->st_uid : static_cast<uid_t>(-1),
        to_set & FUSE_SET_ATTR_GID ? attr->st_gid : static_cast<gid_t>(-1),
        AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  if (result == 0 && to_set & FUSE_SET_ATTR_MODE)
    result = ::chmod(PathOf(node).c_str(), attr->st_mode & 07777);
  if (result == 0 && to_set & FUSE_SET_ATTR_SIZE)
    result = ::truncate(PathOf(node).c_str(), attr->st_size);
  const timespec times[2] = {
      TimeToSet(to_set, FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, attr->st_atim),
      TimeToSet(to_set, FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, attr->st_mtim)};
  if (result == 0)
    result = ::utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  if (result != 0) return Answer(req, result);
  ReplyAttributes(req, node);
}

void StatFsOp(fuse_req_t req, fuse_ino_t) {
  struct statvfs st;
  if (::fstatvfs(root.fd, &st) != 0) return Answer(req, -1);
  fuse_reply_statfs(req, &st);
}

void ReplyXattr(fuse_req_t req, ssize_t n, const char* value, size_t size) {
  if (n < 0) return Answer(req, -1);
  if (size == 0)
    fuse_reply_xattr(req, static_cast<size_t>(n));
  else
    fuse_reply_buf(req, value, static_cast<size_t>(n));
}

void GetXattrOp(fuse_req_t req, fuse_ino_t node, const char* name, size_t size) {
  const ssize_t n = ::getxattr(PathOf(node).c_str(), name, ThreadBuffer(), size);
  ReplyXattr(req, n, ThreadBuffer(), size);
}

void ListXattrOp(fuse_req_t req, fuse_ino_t node, size_t size) {
  const ssize_t n = ::listxattr(PathOf(node).c_str(), ThreadBuffer(), size);
  ReplyXattr(req, n, ThreadBuffer(), size);
}

void SetXattrOp(fuse_req_t req, fuse_ino_t node, const char* name, const char* value,
                size_t size, int flags) {
  Answer(req, ::setxattr(PathOf(node).c_str(), name, value, size, flags));
}

void RemoveXattrOp(fuse_req_t req, fuse_ino_t node, const char* name) {
  Answer(req, ::removexattr(PathOf(node).c_str(), name));
}

// Files.

// With a write-back cache the kernel reads what is only written, and appends itself.
int BackingFlags(int flags) {
  flags &= ~(O_APPEND | O_NOFOLLOW | O_CREAT | O_EXCL);
  if ((flags & O_ACCMODE) == O_WRONLY) flags = (flags & ~O_ACCMODE) | O_RDWR;
  return flags | O_CLOEXEC;
}

void PrepareHandle(fuse_file_info* fi, int fd) {
  fi->fh = static_cast<uint64_t>(fd);
  fi->keep_cache = 1;
  fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
}

int HandleOf(const fuse_file_info* fi) { return static_cast<int>(fi->fh); }

void CreateOp(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
              fuse_file_info* fi) {
  const int fd = AsCallerMake(req, [&] {
    return ::openat(FdOf(parent), name, BackingFlags(fi->flags) | O_CREAT | O_EXCL,
                    mode);
  });
  fuse_entry_param entry;
  if (fd < 0 || !Lookup(parent, name, &entry)) return Answer(req, -1);
  PrepareHandle(fi, fd);
  fuse_reply_create(req, &entry, fi);
}

void OpenOp(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  const int fd = ::open(PathOf(node).c_str(), BackingFlags(fi->flags));
  if (fd < 0) return Answer(req, -1);
  PrepareHandle(fi, fd);
  fuse_reply_open(req, fi);
}

void ReleaseOp(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  ::close(HandleOf(fi));
  fuse_reply_err(req, 0);
}

void FlushOp(fuse_req_t req, fuse_ino_t, fuse_file_info*) { fuse_reply_err(req, 0); }

void FsyncOp(fuse_req_t req, fuse_ino_t, int data_only, fuse_file_info* fi) {
  Answer(req, data_only ? ::fdatasync(HandleOf(fi)) : ::fsync(HandleOf(fi)));
}

void ReadOp(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) {
  const ssize_t n = ::pread(HandleOf(fi), ThreadBuffer(), size, offset);
  if (n < 0) return Answer(req, -1);
  fuse_reply_buf(req, ThreadBuffer(), static_cast<size_t>(n));
}

void WriteBufOp(fuse_req_t req, fuse_ino_t, fuse_bufvec* in, off_t offset,
                fuse_file_info* fi) {
  const size_t size = fuse_buf_size(in);
  fuse_bufvec out = FUSE_BUFVEC_INIT(size);
  out.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  out.buf[0].fd = HandleOf(fi);
  out.buf[0].pos = offset;
  const ssize_t n = fuse_buf_copy(&out, in, FUSE_BUF_NO_SPLICE);
  if (n < 0) return static_cast<void>(fuse_reply_err(req, static_cast<int>(-n)));
  fuse_reply_write(req, static_cast<size_t>(n));
}

// Folders.

struct OpenFolder {
  DIR* dir;
  std::mutex mutex;
};

OpenFolder* FolderOf(const fuse_file_info* fi) {
  return reinterpret_cast<OpenFolder*>(fi->fh);
}

void OpenDirOp(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  const int fd = ::openat(FdOf(node), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Answer(req, -1);
  fi->fh = reinterpret_cast<uint64_t>(new OpenFolder{::fdopendir(fd), {}});
  fi->cache_readdir = 1;
  fi->keep_cache = 1;
  fuse_reply_open(req, fi);
}

// FillEntries writes entries to the thread's buffer and returns how many bytes.
size_t FillEntries(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                   OpenFolder& open, bool plus) {
  std::lock_guard lock(open.mutex);
  ::seekdir(open.dir, offset);
  size_t used = 0;
  while (const dirent* d = ::readdir(open.dir)) {
    fuse_entry_param entry;
    const bool dots =
        std::strcmp(d->d_name, ".") == 0 || std::strcmp(d->d_name, "..") == 0;
    if (!plus || dots || !Lookup(node, d->d_name, &entry)) {
      std::memset(&entry, 0, sizeof entry);
      entry.attr.st_ino = d->d_ino;
      entry.attr.st_mode = static_cast<mode_t>(DTTOIF(d->d_type));
    }
    char* out = ThreadBuffer() + used;
    const size_t need = plus ? fuse_add_direntry_plus(req, out, size - used, d->d_name,
                                                      &entry, d->d_off)
                             : fuse_add_direntry(req, out, size - used, d->d_name,
                                                 &entry.attr, d->d_off);
    if (need > size - used) {
      if (entry.ino != 0) Forget(entry.ino, 1);
      break;
    }
    used += need;
  }
  return used;
}

// Once answered, the folder may be closed and freed by another thread.
void ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
             OpenFolder& open, bool plus) {
  const size_t used = FillEntries(req, node, size, offset, open, plus);
  fuse_reply_buf(req, ThreadBuffer(), used);
}

void ReadDirOp(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
               fuse_file_info* fi) {
  ReadDir(req, node, size, offset, *FolderOf(fi), false);
}

void ReadDirPlusOp(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                   fuse_file_info* fi) {
  ReadDir(req, node, size, offset, *FolderOf(fi), true);
}

void ReleaseDirOp(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  ::closedir(FolderOf(fi)->dir);
  delete FolderOf(fi);
  fuse_reply_err(req, 0);
}

void FsyncDirOp(fuse_req_t req, fuse_ino_t, int, fuse_file_info* fi) {
  Answer(req, ::fsync(::dirfd(FolderOf(fi)->dir)));
}

// The session: as in FuseMount.cc, where the reasons stand.

ssize_t ReadRequest(int fd, void* buffer, size_t size, void*) {
  return ::read(fd, buffer, size);
}

ssize_t WriteReply(int fd, iovec* iov, int count, void*) {
  static bool answered = false;  // INIT comes first, and alone
  if (!answered && count == 2 && iov[1].iov_len >= 4 * sizeof(uint32_t)) {
    answered = true;
    static_cast<fuse_init_out*>(iov[1].iov_base)->flags |= FUSE_HANDLE_KILLPRIV_V2;
  }
  return ::writev(fd, iov, count);
}

void Init(void*, fuse_conn_info* conn) {
  for (unsigned wanted :
       {FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS,
        FUSE_CAP_READDIRPLUS_AUTO, FUSE_CAP_ASYNC_READ, FUSE_CAP_CACHE_SYMLINKS})
    if (conn->capable & wanted) conn->want |= wanted;
  conn->want &=
      ~(FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_SPLICE_READ |
        FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_ATOMIC_O_TRUNC |
        FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_HANDLE_KILLPRIV);
  conn->max_write = kMaxRequest;
  conn->max_read = kMaxRequest;
  conn->max_readahead = kMaxRequest;
  conn->max_background = 64;
  conn->congestion_threshold = 48;
}

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops ops{};
  ops.init = Init;
  ops.lookup = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    ReplyEntry(req, parent, name);
  };
  ops.forget = ForgetOp;
  ops.forget_multi = ForgetMultiOp;
  ops.readlink = ReadLinkOp;
  ops.mknod = MkNodOp;
  ops.mkdir = MkDirOp;
  ops.symlink = SymlinkOp;
  ops.link = LinkOp;
  ops.unlink = UnlinkOp;
  ops.rmdir = RmDirOp;
  ops.rename = RenameOp;
  ops.getattr = GetAttrOp;
  ops.setattr = SetAttrOp;
  ops.statfs = StatFsOp;
  ops.getxattr = GetXattrOp;
  ops.listxattr = ListXattrOp;
  ops.setxattr = SetXattrOp;
  ops.removexattr = RemoveXattrOp;
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
  return ops;
}

// WidenReadahead, best done without asking the filesystem, which does not answer yet.
void WidenReadahead(const char* mountpoint) {
  struct statx info;
  if (::statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC, 0, &info) != 0) return;
  const std::string path = "/sys/class/bdi/" + std::to_string(info.stx_dev_major) +
                           ":" + std::to_string(info.stx_dev_minor) + "/read_ahead_kb";
  if (std::FILE* file = std::fopen(path.c_str(), "w")) {
    std::fprintf(file, "%d", kMaxRequest / 1024);
    std::fclose(file);
  }
}

int Serve(const char* source, const char* mountpoint) {
  root.fd = ::open(source, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root.fd < 0) return std::perror(source), 1;
  const std::string options =
      "default_permissions,allow_other,subtype=passthrough,fsname=passthrough,max_"
      "read=" +
      std::to_string(kMaxRequest);
  const char* argv[] = {"passthrough", "-o", options.c_str()};
  fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(argv));
  const fuse_lowlevel_ops ops = Operations();
  fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, nullptr);
  fuse_opt_free_args(&args);
  if (session == nullptr || fuse_session_mount(session, mountpoint) != 0) return 1;
  WidenReadahead(mountpoint);
  const fuse_custom_io io{WriteReply, ReadRequest, nullptr, nullptr};
  fuse_session_custom_io(session, &io, fuse_session_fd(session));
  fuse_set_signal_handlers(session);
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 1);
  const unsigned threads = std::clamp(2 * std::thread::hardware_concurrency(), 4u, 16u);
  fuse_loop_cfg_set_max_threads(config, threads);
  fuse_loop_cfg_set_idle_threads(config, threads);
  const int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  fuse_remove_signal_handlers(session);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return result < 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: passthrough SOURCE MOUNTPOINT\n", stderr);
    return 2;
  }
  ::umask(0);
  const rlimit most{1 << 20, 1 << 20};  // a descriptor for each inode known
  if (::setrlimit(RLIMIT_NOFILE, &most) != 0) std::perror("setrlimit");
  return Serve(argv[1], argv[2]);
}
