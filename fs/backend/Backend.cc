#include "fs/backend/Backend.h"

#include <errno.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <cstdlib>

namespace keyfold {

Result<UniqueFd> OpenAt(int folder, const std::string& name, int flags, mode_t mode) {
  const int fd = ::openat(folder, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return Status::FromErrno(errno, "open");
  return UniqueFd(fd);
}

std::string FdPath(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

Result<UniqueFd> Reopen(int path_fd, int flags) {
  const int fd = ::open(FdPath(path_fd).c_str(), flags | O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, "open");
  return UniqueFd(fd);
}

Result<size_t> ReadAt(int fd, off_t offset, MutableBytes out) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd, out.data() + done, out.size() - done,
                              offset + static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromErrno(errno, "read");
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

Status WriteAt(int fd, off_t offset, ByteView data) {
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t n = ::pwrite(fd, data.data() + done, data.size() - done,
                               offset + static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromErrno(errno, "write");
    if (n == 0) return Status::FromErrno(EIO, "write");
    done += static_cast<size_t>(n);
  }
  return OkStatus();
}

Result<Bytes> ReadFileAt(int folder, const std::string& name, size_t limit) {
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(folder, name, O_RDONLY | O_NONBLOCK));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Status::FromErrno(errno, "stat");
  if (!S_ISREG(st.st_mode) || static_cast<size_t>(st.st_size) > limit)
    return Status(Error::kCorrupt, "not a small regular file: " + name);
  Bytes data(static_cast<size_t>(st.st_size));
  KF_ASSIGN_OR_RETURN(size_t n, ReadAt(fd.get(), 0, data));
  data.resize(n);
  return data;
}

Result<std::optional<Bytes>> GetXattr(int fd, const std::string& name) {
  Bytes value(512);
  const std::string path = FdPath(fd);
  for (;;) {
    const ssize_t n = ::getxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (n >= 0) {
      value.resize(static_cast<size_t>(n));
      return std::optional<Bytes>(std::move(value));
    }
    if (errno == ENODATA) return std::optional<Bytes>();
    if (errno != ERANGE || value.size() >= 128 * 1024)
      return Status::FromErrno(errno, "getxattr");
    value.resize(value.size() * 16);
  }
}

Status SetXattr(int fd, const std::string& name, ByteView value, int flags) {
  if (::setxattr(FdPath(fd).c_str(), name.c_str(), value.data(), value.size(), flags) != 0)
    return Status::FromErrno(errno, "setxattr");
  return OkStatus();
}

AsCaller::AsCaller(uid_t uid, gid_t gid, const std::vector<gid_t>& groups) {
  if (::geteuid() != 0) return;
  active_ = true;
  if (::syscall(SYS_setgroups, groups.size(), groups.data()) != 0) std::abort();
  ::setfsgid(gid);
  ::setfsuid(uid);
  // setfsuid reports nothing: asking again tells whether it took.
  if (static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))) != uid) std::abort();
}

AsCaller::~AsCaller() {
  if (!active_) return;
  ::setfsuid(0);
  ::setfsgid(0);
  if (::syscall(SYS_setgroups, 0, nullptr) != 0) std::abort();
}

}  // namespace keyfold
