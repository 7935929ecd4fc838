#include "kms/base/PrivateFile.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

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

}  // namespace keyfold
