// The linker gives every call of NAME from the code under test to __wrap_NAME, and
// calls the C library's __real_NAME (ld's --wrap): nothing of it is in the program.
#include "tests/unit/FailingCalls.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <type_traits>

namespace keyfold {
namespace {

thread_local std::optional<FailingCalls::Fault> armed;
thread_local uint64_t counted = 0;

// Fails counts a call and tells whether it is to fail.
bool Fails(std::string_view name) {
  if (!armed || (!armed->only.empty() && armed->only != name)) return false;
  ++counted;
  return counted == armed->call || (armed->lasts && counted > armed->call);
}

template <typename Result>
Result Failed() {
  errno = armed->error;
  if constexpr (std::is_pointer_v<Result>)
    return nullptr;
  else
    return -1;
}

}  // namespace

void FailingCalls::Arm(const Fault& fault) {
  counted = 0;
  armed = fault;
}

uint64_t FailingCalls::Disarm() {
  armed.reset();
  return counted;
}

// A function each, of the same parameters: those of calls with optional ones are all
// there.
#define KF_FAILING(type, name, parameters, arguments) \
  extern "C" type __real_##name parameters;           \
  extern "C" type __wrap_##name parameters {          \
    if (Fails(#name)) return Failed<type>();          \
    return __real_##name arguments;                   \
  }

KF_FAILING(int, open, (const char* path, int flags, mode_t mode), (path, flags, mode))
KF_FAILING(int, __open_2, (const char* path, int flags), (path, flags))
KF_FAILING(int, openat, (int at, const char* path, int flags, mode_t mode),
           (at, path, flags, mode))
KF_FAILING(int, mkdirat, (int at, const char* path, mode_t mode), (at, path, mode))
KF_FAILING(int, mknodat, (int at, const char* path, mode_t mode, dev_t device),
           (at, path, mode, device))
KF_FAILING(int, unlinkat, (int at, const char* path, int flags), (at, path, flags))
KF_FAILING(int, renameat, (int from, const char* path, int to, const char* new_path),
           (from, path, to, new_path))
KF_FAILING(int, renameat2,
           (int from, const char* path, int to, const char* new_path, unsigned flags),
           (from, path, to, new_path, flags))
KF_FAILING(int, linkat,
           (int from, const char* path, int to, const char* new_path, int flags),
           (from, path, to, new_path, flags))
KF_FAILING(int, symlinkat, (const char* target, int at, const char* path),
           (target, at, path))
KF_FAILING(ssize_t, readlinkat, (int at, const char* path, char* out, size_t size),
           (at, path, out, size))
KF_FAILING(int, fstat, (int fd, struct stat* st), (fd, st))
KF_FAILING(int, fstatat, (int at, const char* path, struct stat* st, int flags),
           (at, path, st, flags))
KF_FAILING(int, chmod, (const char* path, mode_t mode), (path, mode))
KF_FAILING(int, fchownat,
           (int at, const char* path, uid_t owner, gid_t group, int flags),
           (at, path, owner, group, flags))
KF_FAILING(int, utimensat, (int at, const char* path, const timespec* times, int flags),
           (at, path, times, flags))
KF_FAILING(int, futimens, (int fd, const timespec* times), (fd, times))
KF_FAILING(int, setxattr,
           (const char* path, const char* name, const void* value, size_t size,
            int flags),
           (path, name, value, size, flags))
KF_FAILING(int, fsetxattr,
           (int fd, const char* name, const void* value, size_t size, int flags),
           (fd, name, value, size, flags))
KF_FAILING(ssize_t, getxattr,
           (const char* path, const char* name, void* value, size_t size),
           (path, name, value, size))
KF_FAILING(int, removexattr, (const char* path, const char* name), (path, name))
KF_FAILING(int, fsync, (int fd), (fd))
KF_FAILING(int, fdatasync, (int fd), (fd))
KF_FAILING(int, ftruncate, (int fd, off_t size), (fd, size))
KF_FAILING(int, fallocate, (int fd, int mode, off_t offset, off_t size),
           (fd, mode, offset, size))
KF_FAILING(int, flock, (int fd, int operation), (fd, operation))
KF_FAILING(ssize_t, pread, (int fd, void* out, size_t size, off_t offset),
           (fd, out, size, offset))
KF_FAILING(ssize_t, pwrite, (int fd, const void* data, size_t size, off_t offset),
           (fd, data, size, offset))
KF_FAILING(DIR*, fdopendir, (int fd), (fd))
KF_FAILING(struct dirent*, readdir, (DIR * dir), (dir))

extern "C" ssize_t __real_write(int fd, const void* data, size_t size);
extern "C" ssize_t __wrap_write(int fd, const void* data, size_t size) {
  if (!Fails("write")) return __real_write(fd, data, size);
  if (armed->half) return __real_write(fd, data, size / 2);
  return Failed<ssize_t>();
}

}  // namespace keyfold
