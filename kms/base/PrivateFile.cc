#include "kms/base/PrivateFile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "kms/base/UniqueFd.h"

namespace keyfold {

Status CheckPrivateFile(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::FromErrno(errno, path);
  if (!S_ISREG(info.st_mode))
    return {Error::kUsage, path + " is not a regular file. Name a file."};
  if (info.st_uid != geteuid() && info.st_uid != 0)
    return {Error::kUsage,
            path + " belongs to another user. Take ownership with chown first."};
  if ((info.st_mode & 077) != 0)
    return {Error::kUsage, path +
                               " can be read or written by others. Run: chmod 600 '" +
                               path + "', and consider its secret known."};
  return OkStatus();
}

Status GiveToOwnerOf(int folder, int fd) {
  if (geteuid() != 0) return OkStatus();
  struct stat info;
  if (fstat(folder, &info) != 0) return Status::FromErrno(errno, "stat");
  if (info.st_uid != 0 && fchown(fd, info.st_uid, info.st_gid) != 0)
    return Status::FromErrno(errno, "chown");
  return OkStatus();
}

Status GiveToOwnerOfParent(const std::string& path, int fd) {
  const std::string parent = path.substr(0, path.rfind('/') + 1) + ".";
  const UniqueFd folder(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return Status::FromErrno(errno, parent);
  return GiveToOwnerOf(folder.get(), fd);
}

}  // namespace keyfold
