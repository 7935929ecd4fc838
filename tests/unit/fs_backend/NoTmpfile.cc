#include "NoTmpfile.h"

#include <errno.h>
#include <linux/fcntl.h>  // the C library's header would declare an inline openat
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace {
std::atomic<int> refusal{0};
}  // namespace

extern "C" int openat(int folder, const char* name, int flags, ...) {
  if ((flags & O_TMPFILE) == O_TMPFILE && refusal != 0) {
    errno = refusal;
    return -1;
  }
  va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = va_arg(arguments, unsigned);
  va_end(arguments);
  return static_cast<int>(::syscall(SYS_openat, folder, name, flags, mode));
}

namespace keyfold {

NoTmpfile::NoTmpfile(int error) { refusal = error; }
NoTmpfile::~NoTmpfile() { refusal = 0; }

}  // namespace keyfold
