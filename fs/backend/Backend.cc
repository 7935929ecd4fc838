#include "fs/backend/Backend.h"

#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <cstdlib>
#include <random>

#include "fs/backend/Capabilities.h"
#include "kms/base/PrivateFile.h"

namespace keyfold {
namespace {

// The kernel's default for fs.nr_open, which a privileged daemon may reach.
constexpr rlim_t kMostDescriptors = 1 << 20;

// What the process was given, which its threads take back after acting as a user.
const Capabilities& Own() {
  static const Capabilities own = Capabilities::OfThread();
  return own;
}

}  // namespace

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

Result<std::string> ReadLinkAt(int folder, const std::string& name) {
  std::string text(PATH_MAX, '\0');
  const ssize_t n = ::readlinkat(folder, name.c_str(), text.data(), text.size());
  if (n < 0) return Status::FromErrno(errno, "readlink");
  text.resize(static_cast<size_t>(n));
  return text;
}

Status ForEachEntry(UniqueFd folder, const std::function<void(const char*)>& visit) {
  DIR* dir = ::fdopendir(folder.get());
  if (dir == nullptr) return Status::FromErrno(errno, "read folder");
  folder.Release();  // the stream's now
  errno = 0;
  while (const struct dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") visit(entry->d_name);
    errno = 0;
  }
  const int error = errno;
  ::closedir(dir);
  return error == 0 ? OkStatus() : Status::FromErrno(error, "read folder");
}

Result<UniqueFd> CreateAnew(int folder, const std::string& name) {
  if (::unlinkat(folder, name.c_str(), 0) != 0 && errno != ENOENT)
    return Status::FromErrno(errno, name);
  return OpenAt(folder, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
}

Status ReplaceFile(int folder, const std::string& name, ByteView contents) {
  const std::string fresh = name + ".new";
  KF_ASSIGN_OR_RETURN(const UniqueFd fd, CreateAnew(folder, fresh));
  Status status = GiveToOwnerOf(folder, fd.get());
  if (status.ok()) status = WriteAt(fd.get(), 0, contents);
  if (status.ok() && ::fsync(fd.get()) != 0) status = Status::FromErrno(errno, fresh);
  if (status.ok() && ::renameat(folder, fresh.c_str(), folder, name.c_str()) != 0)
    status = Status::FromErrno(errno, name);
  if (!status.ok()) {
    ::unlinkat(folder, fresh.c_str(), 0);
    return status;
  }
  return ::fsync(folder) == 0 ? OkStatus() : Status::FromErrno(errno, name);
}

Result<std::vector<std::string>> SortedEntries(int folder) {
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(folder, ".", O_RDONLY | O_DIRECTORY));
  return SortedEntries(std::move(fd));
}

Result<std::vector<std::string>> SortedEntries(UniqueFd folder) {
  std::vector<std::string> names;
  KF_RETURN_IF_ERROR(ForEachEntry(std::move(folder),
                                  [&](const char* name) { names.emplace_back(name); }));
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::optional<Bytes>> GetXattr(int fd, const std::string& name) {
  Bytes value(256);
  const std::string path = FdPath(fd);
  for (;;) {
    const ssize_t n =
        ::getxattr(path.c_str(), name.c_str(), value.data(), value.size());
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
  int result = ::fsetxattr(fd, name.c_str(), value.data(), value.size(), flags);
  if (result != 0 && errno == EBADF)  // O_PATH
    result =
        ::setxattr(FdPath(fd).c_str(), name.c_str(), value.data(), value.size(), flags);
  return result == 0 ? OkStatus() : Status::FromErrno(errno, "setxattr");
}

Result<std::vector<std::string>> ListXattrNames(int fd) {
  std::string list(64 * 1024, '\0');
  const ssize_t n = ::listxattr(FdPath(fd).c_str(), list.data(), list.size());
  if (n < 0) return Status::FromErrno(errno, "listxattr");
  list.resize(static_cast<size_t>(n));
  std::vector<std::string> names;
  for (size_t at = 0; at < list.size(); at += names.back().size() + 1)
    names.emplace_back(list.c_str() + at);
  return names;
}

Status SyncFolder(int folder) {
  KF_ASSIGN_OR_RETURN(const UniqueFd real, OpenAt(folder, ".", O_RDONLY | O_DIRECTORY));
  return ::fsync(real.get()) == 0 ? OkStatus() : Status::FromErrno(errno, "fsync");
}

Status SyncFolder(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) return Status::FromErrno(errno, path);
  return OkStatus();
}

std::string TemporaryName() {
  thread_local std::random_device random;
  uint64_t number = random();
  number = number << 32 | random();
  return std::string(kTemporaryPrefix) + std::to_string(number);
}

Result<NewFile> NewFile::Create(int folder, mode_t mode) {
  auto fd = OpenAt(folder, ".", O_RDWR | O_TMPFILE, mode);
  if (fd.ok()) return NewFile(folder, std::move(*fd), {});
  const int error = fd.status().sys_errno();
  if (error != EOPNOTSUPP && error != EISDIR && error != EINVAL) return fd.status();
  std::string name = TemporaryName();
  KF_ASSIGN_OR_RETURN(UniqueFd named,
                      OpenAt(folder, name, O_RDWR | O_CREAT | O_EXCL, mode));
  return NewFile(folder, std::move(named), std::move(name));
}

Status NewFile::Publish(int fd, const std::string& name) {
  const int result = temporary_.empty()
                         ? ::linkat(AT_FDCWD, FdPath(fd).c_str(), folder_, name.c_str(),
                                    AT_SYMLINK_FOLLOW)
                         : ::renameat2(folder_, temporary_.c_str(), folder_,
                                       name.c_str(), RENAME_NOREPLACE);
  if (result != 0) return Status::FromErrno(errno, "create");
  temporary_.clear();
  return OkStatus();
}

NewFile::~NewFile() {
  if (!temporary_.empty()) (void)::unlinkat(folder_, temporary_.c_str(), 0);
}

Status OwnUmask() {
  thread_local const int error = ::unshare(CLONE_FS) == 0 ? 0 : errno;
  return error == 0 ? OkStatus() : Status::FromErrno(error, "unshare");
}

AsCaller::AsCaller(const FsIdentity& identity, Groups groups) {
  if (!OwnUmask().ok()) std::abort();
  ::umask(identity.umask);
  if (::geteuid() != 0) return;
  active_ = true;
  if (groups == Groups::kSupplementary && identity.groups) {
    const std::vector<gid_t> list = identity.groups();
    if (::syscall(SYS_setgroups, list.size(), list.data()) != 0) std::abort();
    groups_ = true;
  }
  static const Capabilities users = Own().WithoutFilesystem();
  ::setfsgid(identity.gid);
  former_ = ::setfsuid(identity.uid);
  // setfsuid reports nothing: asking again tells whether it took.
  if (static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))) != identity.uid)
    std::abort();
  // A thread that was not root on the filesystem has kept them.
  if (identity.uid != 0 && !users.Take()) std::abort();
}

AsCaller::~AsCaller() {
  ::umask(0);
  if (!active_) return;
  if (!Own().Take()) std::abort();
  ::setfsuid(static_cast<uid_t>(former_));
  ::setfsgid(0);
  if (groups_ && ::syscall(SYS_setgroups, 0, nullptr) != 0) std::abort();
}

void DropSupplementaryGroups() {
  if (::geteuid() == 0 && ::setgroups(0, nullptr) != 0) std::abort();
}

size_t RaiseDescriptorLimit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit most{kMostDescriptors, kMostDescriptors};
  const rlimit allowed{limit.rlim_max, limit.rlim_max};
  for (const rlimit& wanted : {most, allowed})
    if (wanted.rlim_max >= limit.rlim_max && ::setrlimit(RLIMIT_NOFILE, &wanted) == 0)
      return wanted.rlim_cur;
  return limit.rlim_cur;
}

}  // namespace keyfold
