// The system calls under the vault: owned descriptors, whole reads and writes,
// extended attributes by descriptor, and acting as the calling user.
//
// Must not know: formats or keys. Free functions, thread-safe; AsCaller
// changes the credentials of the calling thread only.
#pragma once

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Close(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

// OpenAt adds O_CLOEXEC and O_NOFOLLOW. kSystem on failure.
Result<UniqueFd> OpenAt(int folder, const std::string& name, int flags, mode_t mode = 0);
// Reopen opens what an O_PATH descriptor refers to.
Result<UniqueFd> Reopen(int path_fd, int flags);
// The /proc/self/fd path of a descriptor, for calls that take no O_PATH one.
std::string FdPath(int fd);

// ReadAt returns how many bytes there were, less than asked only at the end.
Result<size_t> ReadAt(int fd, off_t offset, MutableBytes out);
Status WriteAt(int fd, off_t offset, ByteView data);
// ReadFileAt reads a small regular file whole; kCorrupt above `limit` bytes.
Result<Bytes> ReadFileAt(int folder, const std::string& name, size_t limit);

// GetXattr returns nothing when the attribute is absent.
Result<std::optional<Bytes>> GetXattr(int fd, const std::string& name);
Status SetXattr(int fd, const std::string& name, ByteView value, int flags = 0);

// AsCaller lets the calling thread act with a user's filesystem identity and
// supplementary groups until it goes out of scope; does nothing in a daemon
// without the privilege. Raw system calls: glibc's would change every thread.
class AsCaller {
 public:
  AsCaller(uid_t uid, gid_t gid, const std::vector<gid_t>& groups);
  ~AsCaller();
  AsCaller(const AsCaller&) = delete;
  AsCaller& operator=(const AsCaller&) = delete;

 private:
  bool active_ = false;
};

}  // namespace keyfold
