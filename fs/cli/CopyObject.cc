#include "fs/cli/CopyObject.h"

#include <cerrno>
#include <sstream>

namespace keyfold {
namespace {

bool IsSameTime(const timespec& source, const timespec& copy) {
  if (source.tv_sec != copy.tv_sec) return false;
  // Some filesystems keep whole seconds only.
  return source.tv_nsec == copy.tv_nsec || copy.tv_nsec == 0;
}

}  // namespace

bool IsSameFile(const struct stat& source, const struct stat& copy) {
  return S_ISREG(copy.st_mode) && source.st_size == copy.st_size &&
         IsSameTime(source.st_mtim, copy.st_mtim);
}

Result<struct stat> StatOf(int folder, const std::string& name) {
  struct stat st;
  if (::fstatat(folder, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return Status::FromErrno(errno, "look at");
  return st;
}

Result<UniqueFd> OpenBelow(int root, const std::string& path) {
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(root, ".", O_RDONLY | O_DIRECTORY));
  std::istringstream parts(path);
  for (std::string part; std::getline(parts, part, '/');) {
    KF_ASSIGN_OR_RETURN(fd, OpenAt(fd.get(), part, O_RDONLY | O_DIRECTORY));
  }
  return fd;
}

}  // namespace keyfold
