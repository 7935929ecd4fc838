#include "fs/cli/Reencrypt.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "fs/backend/Backend.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr char kKeyXattr[] = "user.keyfold.key";
constexpr std::string_view kOwnPrefix = "user.keyfold.";
constexpr size_t kChunk = 1 << 20;

struct FolderAndName {
  std::string folder, name;
};

FolderAndName SplitPath(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// CopyContents leaves out chunks of zeros, so that holes stay holes.
Status CopyContents(int from, int to, off_t size) {
  Bytes buffer(kChunk);
  off_t offset = 0;
  for (;;) {
    KF_ASSIGN_OR_RETURN(const size_t count, ReadAt(from, offset, buffer));
    if (count == 0) break;
    const ByteView chunk(buffer.data(), count);
    if (std::any_of(chunk.begin(), chunk.end(), [](uint8_t b) { return b != 0; }))
      KF_RETURN_IF_ERROR(WriteAt(to, offset, chunk));
    offset += static_cast<off_t>(count);
  }
  if (offset != size) return Status::FromErrno(EAGAIN, "the file changed meanwhile");
  if (::ftruncate(to, size) != 0) return Status::FromErrno(errno, "ftruncate");
  return OkStatus();
}

Status CopyXattrs(int from, int to) {
  std::vector<char> names(65536), value(65536);
  const ssize_t size = ::flistxattr(from, names.data(), names.size());
  if (size < 0) return Status::FromErrno(errno, "list extended attributes");
  for (ssize_t at = 0; at < size;) {
    const std::string name(&names[static_cast<size_t>(at)]);
    at += static_cast<ssize_t>(name.size()) + 1;
    if (name.starts_with(kOwnPrefix) || name.empty()) continue;
    const ssize_t count = ::fgetxattr(from, name.c_str(), value.data(), value.size());
    if (count < 0 ||
        ::fsetxattr(to, name.c_str(), value.data(), static_cast<size_t>(count), 0) != 0)
      return Status::FromErrno(errno, "copy " + name);
  }
  return OkStatus();
}

// CopyAttributes: the owner first, since changing it clears set-user-id bits.
Status CopyAttributes(int from, int to, const struct stat& st) {
  struct stat fresh;
  if (::fstat(to, &fresh) != 0) return Status::FromErrno(errno, "fstat");
  if ((fresh.st_uid != st.st_uid || fresh.st_gid != st.st_gid) &&
      ::fchown(to, st.st_uid, st.st_gid) != 0)
    return Status::FromErrno(errno, "keep the owner");
  KF_RETURN_IF_ERROR(CopyXattrs(from, to));
  if (::fchmod(to, st.st_mode & 07777) != 0) return Status::FromErrno(errno, "fchmod");
  const timespec times[2] = {st.st_atim, st.st_mtim};
  if (::fsync(to) != 0 || ::futimens(to, times) != 0 || ::fsync(to) != 0)
    return Status::FromErrno(errno, "fsync");
  return OkStatus();
}

bool SameVersion(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

Status CopyAndReplace(int folder, const FolderAndName& place, int source,
                      const struct stat& st, const std::string& fresh_name,
                      const std::string& key) {
  KF_ASSIGN_OR_RETURN(const UniqueFd fresh,
                      OpenAt(folder, fresh_name, O_RDWR | O_CREAT | O_EXCL, 0600));
  if (::fsetxattr(fresh.get(), kKeyXattr, key.data(), key.size(), 0) != 0)
    return Status::FromErrno(errno, "bind the copy to " + key);
  KF_RETURN_IF_ERROR(CopyContents(source, fresh.get(), st.st_size));
  KF_RETURN_IF_ERROR(CopyAttributes(source, fresh.get(), st));
  struct stat now;
  if (::fstatat(folder, place.name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0 ||
      !SameVersion(st, now))
    return Status::FromErrno(EAGAIN, "the file changed meanwhile");
  if (::renameat(folder, fresh_name.c_str(), folder, place.name.c_str()) != 0)
    return Status::FromErrno(errno, "rename");
  return OkStatus();
}

}  // namespace

Status Reencrypt(const std::string& path, const std::string& key) {
  const FolderAndName place = SplitPath(path);
  const UniqueFd folder(
      ::open(place.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return Status::FromErrno(errno, place.folder);
  KF_ASSIGN_OR_RETURN(const UniqueFd source,
                      OpenAt(folder.get(), place.name, O_RDONLY));
  struct stat st;
  if (::fstat(source.get(), &st) != 0) return Status::FromErrno(errno, path);
  if (!S_ISREG(st.st_mode)) return {Error::kUsage, path + " is not a regular file."};
  if (st.st_nlink > 1)
    return {Error::kUsage, path +
                               " has several links, and a copy would leave the others. "
                               "Remove them first."};
  // First the key of the file there is, which reaches those who have it open.
  if (::fsetxattr(source.get(), kKeyXattr, key.data(), key.size(), 0) != 0)
    return Status::FromErrno(errno, "bind the file to " + key);
  const std::string fresh = ".keyfold-reencrypt-" + RandomUuid();
  const Status status =
      CopyAndReplace(folder.get(), place, source.get(), st, fresh, key);
  if (!status.ok()) {
    ::unlinkat(folder.get(), fresh.c_str(), 0);
    return status;
  }
  if (::fsync(folder.get()) != 0) return Status::FromErrno(errno, place.folder);
  return OkStatus();
}

}  // namespace keyfold
