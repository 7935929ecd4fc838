#include "fs/cli/StoreLock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace keyfold {
namespace {

std::string Holder(int fd) {
  char text[32];
  const ssize_t count = ::pread(fd, text, sizeof text, 0);
  std::string pid;
  for (ssize_t i = 0; i < count && text[i] >= '0' && text[i] <= '9'; ++i)
    pid += text[i];
  return pid.empty() ? "another process" : "process " + pid;
}

// A daemon that was killed leaves the process with its keys behind for a moment.
bool LockSoon(int fd) {
  for (int left = 50; ::flock(fd, LOCK_EX | LOCK_NB) != 0; --left) {
    if (errno != EWOULDBLOCK || left == 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

}  // namespace

Result<StoreLock> StoreLock::Take(const std::string& store) {
  const std::string path = store + "/lock";
  UniqueFd fd(::open(path.c_str(),
                     O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  struct stat st;
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0) return Status::FromErrno(errno, path);
  // It will be overwritten.
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
    return Status(Error::kCorrupt, path +
                                       " is not a regular file with one name. Keyfold "
                                       "did not make it; move it away.");
  if (!LockSoon(fd.get())) {
    if (errno != EWOULDBLOCK) return Status::FromErrno(errno, path);
    return Status(Error::kLocked, store + " is in use by " + Holder(fd.get()) +
                                      ". See: keyfold status");
  }
  // Only for the message above: the lock is flock's.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0) return Status::FromErrno(errno, path);
  KF_RETURN_IF_ERROR(WriteAt(fd.get(), 0, AsBytes(pid)));
  return StoreLock(std::move(fd));
}

bool StoreLock::IsHeld(const std::string& store) {
  const UniqueFd fd(::open((store + "/lock").c_str(),
                           O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  return fd.valid() && ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 &&
         errno == EWOULDBLOCK;
}

}  // namespace keyfold
