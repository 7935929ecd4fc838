#include "kms/api/SocketFile.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace keyfold {
namespace {

constexpr int kBacklog = 128;

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Status(Error::kUsage, "The socket's path is too long: " + path +
                                     ". Set XDG_RUNTIME_DIR to a shorter folder.");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

bool SomeoneListens(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const int result =
      ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  // EAGAIN: there is a listener whose queue is full.
  const bool listens = result == 0 || errno == EAGAIN;
  ::close(fd);
  return listens;
}

}  // namespace

Result<std::string> MakeRuntimeFolder() {
  const uid_t uid = ::geteuid();
  std::string folder = "/run/keyfold";
  mode_t mode = 0755;
  if (uid != 0) {
    const char* runtime = ::getenv("XDG_RUNTIME_DIR");
    folder = runtime != nullptr && runtime[0] == '/'
                 ? std::string(runtime) + "/keyfold"
                 : "/tmp/keyfold-" + std::to_string(uid);
    mode = 0700;
  }
  const bool made = ::mkdir(folder.c_str(), mode) == 0;
  if (!made && errno != EEXIST) return Status::FromErrno(errno, "make " + folder);
  const int fd =
      ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, "open " + folder);
  struct stat st;
  const bool known = ::fstat(fd, &st) == 0;
  if (known && made && ::fchmod(fd, mode) == 0) st.st_mode = S_IFDIR | mode;
  ::close(fd);
  if (!known || st.st_uid != uid || (st.st_mode & 07777 & ~mode) != 0)
    return Status(Error::kAccessDenied,
                  folder + " may be written by others. Remove it, and try again.");
  return folder;
}

Result<SocketFile> SocketFile::Listen(const std::string& path) {
  // Nobody can connect before listen(), and nobody but this user can write to
  // the folder: so the mode is right before the socket has its name.
  const std::string fresh = path + ".new";
  KF_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  KF_ASSIGN_OR_RETURN(const sockaddr_un fresh_address, AddressOf(fresh));
  if (SomeoneListens(address))
    return Status(Error::kLocked, "Another daemon serves this store at " + path +
                                      ". Unmount it first.");
  SocketFile file;
  file.fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (file.fd_ < 0) return Status::FromErrno(errno, "socket");
  ::unlink(fresh.c_str());
  if (::bind(file.fd_, reinterpret_cast<const sockaddr*>(&fresh_address),
             sizeof fresh_address) != 0)
    return Status::FromErrno(errno, "bind " + fresh);
  struct stat st;
  if (::chmod(fresh.c_str(), 0666) != 0 || ::lstat(fresh.c_str(), &st) != 0 ||
      ::listen(file.fd_, kBacklog) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0) {
    const Status status = Status::FromErrno(errno, "make the socket " + path);
    ::unlink(fresh.c_str());
    return status;
  }
  file.path_ = path;
  file.ino_ = st.st_ino;
  return file;
}

SocketFile::SocketFile(SocketFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::exchange(other.path_, "")),
      ino_(other.ino_) {}

SocketFile::~SocketFile() {
  struct stat st;
  if (!path_.empty() && ::lstat(path_.c_str(), &st) == 0 && st.st_ino == ino_)
    ::unlink(path_.c_str());
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace keyfold
