#include "fs/cli/CopyObject.h"

#include <fcntl.h>

#include <cerrno>

#include "fs/backend/OpenAt2.h"

namespace keyfold {
namespace {

// Some filesystems keep whole seconds only: then the time of change, which they take
// from the clock, has no more either.
bool IsSameTime(const struct stat& source, const struct stat& copy) {
  if (source.st_mtim.tv_sec != copy.st_mtim.tv_sec) return false;
  return source.st_mtim.tv_nsec == copy.st_mtim.tv_nsec ||
         (copy.st_mtim.tv_nsec == 0 && copy.st_ctim.tv_nsec == 0);
}

}  // namespace

bool IsSameFile(const struct stat& source, const struct stat& copy) {
  return S_ISREG(copy.st_mode) && source.st_size == copy.st_size &&
         IsSameTime(source, copy);
}

Result<struct stat> StatOf(int folder, const std::string& name) {
  struct stat st;
  if (::fstatat(folder, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return Status::FromErrno(errno, "look at");
  return st;
}

Result<UniqueFd> OpenBelow(int root, const std::string& path, int flags, bool cross) {
  const std::string within = path.empty() ? "." : path;
  uint64_t resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  if (!cross) resolve |= RESOLVE_NO_XDEV;
  UniqueFd fd =
      OpenAt2(root, within, static_cast<uint64_t>(flags | O_NOFOLLOW), resolve);
  if (!fd.valid()) return Status::FromErrno(errno, "open");
  return fd;
}

std::string ParentOf(const std::string& path) {
  return path.substr(0, path.rfind('/') + 1);
}

std::string BaseOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace keyfold
