// A quota that is used up for as long as the file QUOTA_FLAG is there: what takes space in a
// file below the folder QUOTA_OF fails with EDQUOT. For the daemon, by LD_PRELOAD, as not
// every kernel that runs the tests knows quotas.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *flag, *folder;

__attribute__((constructor)) static void Begin(void) {
  flag = getenv("QUOTA_FLAG");
  folder = getenv("QUOTA_OF");
}

// Leaves errno as it is unless the quota counts.
static int UsedUp(int fd) {
  const int error = errno;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = flag && folder && access(flag, F_OK) == 0
                        ? readlink(link, path, sizeof path)
                        : -1;
  const size_t size = folder ? strlen(folder) : 0;
  const int counts = n > (ssize_t)size && memcmp(path, folder, size) == 0;
  errno = counts ? EDQUOT : error;
  return counts;
}

#define LIMITED(result, name, parameters, arguments)                  \
  result name parameters {                                            \
    static result(*next) parameters;                                  \
    if (!next) next = (result(*) parameters)dlsym(RTLD_NEXT, #name);  \
    return UsedUp(fd) ? -1 : next arguments;                          \
  }

LIMITED(ssize_t, pwrite, (int fd, const void* data, size_t size, off_t at),
        (fd, data, size, at))
LIMITED(ssize_t, pwrite64, (int fd, const void* data, size_t size, off64_t at),
        (fd, data, size, at))
LIMITED(ssize_t, pwritev, (int fd, const struct iovec* parts, int count, off_t at),
        (fd, parts, count, at))
LIMITED(ssize_t, pwritev64, (int fd, const struct iovec* parts, int count, off64_t at),
        (fd, parts, count, at))
LIMITED(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
LIMITED(int, fallocate64, (int fd, int mode, off64_t at, off64_t size),
        (fd, mode, at, size))
