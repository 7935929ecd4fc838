#include "fs/cli/PartialCopy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr std::string_view kPrefix = ".keyfold-partial-";
constexpr size_t kRandom = 16;

Status Sweep(int folder, const std::string& name) {
  struct stat st;
  if (::fstatat(folder, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return Status::FromErrno(errno, "look at");
  // Links and devices, which can't be locked, bear such a name for a moment only.
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
    return ::unlinkat(folder, name.c_str(), 0) == 0
               ? OkStatus()
               : Status::FromErrno(errno, "remove");
  KF_ASSIGN_OR_RETURN(const UniqueFd fd,
                      OpenAt(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return errno == EWOULDBLOCK ? OkStatus() : Status::FromErrno(errno, "lock");
  if (::unlinkat(folder, name.c_str(), S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) != 0)
    return Status::FromErrno(errno, "remove");
  return OkStatus();
}

}  // namespace

std::string NewPartialName() {
  return std::string(kPrefix) + ToHex(RandomBytes(kRandom));
}

bool IsPartialName(const std::string& name) {
  return name.starts_with(kPrefix) && name.size() == kPrefix.size() + 2 * kRandom &&
         name.find_first_not_of("0123456789abcdef", kPrefix.size()) ==
             std::string::npos;
}

Status LockPartial(int fd) {
  return ::flock(fd, LOCK_EX | LOCK_NB) == 0 ? OkStatus()
                                             : Status::FromErrno(errno, "lock");
}

Status GivePartialItsName(int folder, const std::string& partial,
                          const std::string& name, bool replace) {
  const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
  if (::renameat2(folder, partial.c_str(), folder, name.c_str(), flags) == 0)
    return OkStatus();
  // Some filesystems, NFS among them, only know how to replace.
  if (errno != EINVAL || replace) return Status::FromErrno(errno, "name");
  struct stat st;
  if (::fstatat(folder, partial.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return Status::FromErrno(errno, "name");
  // A folder takes at most the place of an empty one.
  if (S_ISDIR(st.st_mode))
    return ::renameat(folder, partial.c_str(), folder, name.c_str()) == 0
               ? OkStatus()
               : Status::FromErrno(errno, "name");
  if (::linkat(folder, partial.c_str(), folder, name.c_str(), 0) != 0)
    return Status::FromErrno(errno, "name");
  if (::unlinkat(folder, partial.c_str(), 0) != 0)
    return Status::FromErrno(errno, "name");
  return OkStatus();
}

Status SweepPartials(
    int folder, const std::function<void(const std::string&, const Status&)>& left) {
  KF_ASSIGN_OR_RETURN(const auto names, SortedEntries(folder));
  for (const std::string& name : names) {
    if (!IsPartialName(name)) continue;
    // Another copy may have given it its name meanwhile.
    if (const Status status = Sweep(folder, name);
        !status.ok() && status.sys_errno() != ENOENT)
      left(name, status);
  }
  return OkStatus();
}

}  // namespace keyfold
