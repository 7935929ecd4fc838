#include "kms/rootkey/SecretFile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "kms/base/PrivateFile.h"
#include "kms/crypto/Crypto.h"
#include "kms/rootkey/WipedBytes.h"

namespace keyfold {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Status SyncFolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || fsync(fd.get()) != 0) return Status::FromErrno(errno, folder);
  return OkStatus();
}

Status WriteAll(int fd, const uint8_t* data, size_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t put = write(fd, data, size);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::FromErrno(errno, path);
    data += put;
    size -= static_cast<size_t>(put);
  }
  if (fsync(fd) != 0) return Status::FromErrno(errno, path);
  return OkStatus();
}

}  // namespace

Result<SecretBytes> ReadSecretFile(const std::string& path, size_t limit,
                                   bool strip_newline) {
  // O_NONBLOCK: opening a FIFO must not wait.
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (fd.get() < 0) return Status::FromErrno(errno, path);
  KF_RETURN_IF_ERROR(CheckPrivateFile(fd.get(), path));
  WipedBytes buffer(limit + 1);
  size_t size = 0;
  while (size < buffer.bytes.size()) {
    const ssize_t got =
        read(fd.get(), buffer.bytes.data() + size, buffer.bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::FromErrno(errno, path);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > limit)
    return Status(Error::kUsage, path + " is larger than " + std::to_string(limit) +
                                     " bytes. Name the right file.");
  if (strip_newline && size > 0 && buffer.bytes[size - 1] == '\n') --size;
  if (size == 0) return SecretBytes();
  return SecretFrom(MutableBytes(buffer.bytes.data(), size));
}

Status CreateKeyFile(const std::string& path, size_t size) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400));
  if (fd.get() < 0) return Status::FromErrno(errno, path);
  const WipedBytes buffer(RevealSecret(RandomSecret(size)));
  Status status =
      fchmod(fd.get(), 0400) != 0 ? Status::FromErrno(errno, path) : OkStatus();
  if (status.ok()) status = WriteAll(fd.get(), buffer.bytes.data(), size, path);
  if (status.ok()) status = SyncFolderOf(path);
  if (!status.ok()) unlink(path.c_str());
  return status;
}

}  // namespace keyfold
