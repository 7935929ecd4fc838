#include "fs/cli/StoreFiles.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "fs/backend/Backend.h"
#include "kms/base/PrivateFile.h"

namespace keyfold {
namespace {

constexpr size_t kPiece = 1 << 16;

Status CopyContents(int from, int to) {
  Bytes piece(kPiece);
  for (uint64_t at = 0;;) {
    KF_ASSIGN_OR_RETURN(const size_t n, ReadAt(from, at, piece));
    if (n == 0) break;
    KF_RETURN_IF_ERROR(WriteAt(to, at, ByteView(piece).first(n)));
    at += n;
  }
  return ::fsync(to) == 0 ? OkStatus() : Status::FromErrno(errno, "sync the copy");
}

}  // namespace

bool Exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

Status Rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return OkStatus();
  return Status::FromErrno(errno, to);
}

std::string KeptName(const std::string& store, const std::vector<std::string>& names,
                     const std::string& why) {
  for (int n = 1;; ++n) {
    const std::string behind = ".before-" + why + "-" + std::to_string(n);
    if (std::none_of(names.begin(), names.end(), [&](const std::string& name) {
          return Exists(store + "/" + name + behind);
        }))
      return behind;
  }
}

Status KeepLinked(const std::string& path, const std::string& kept) {
  if (::link(path.c_str(), kept.c_str()) == 0) return OkStatus();
  return Status::FromErrno(errno, kept);
}

Status KeepCopied(const std::string& path, const std::string& half,
                  const std::string& kept) {
  const UniqueFd from(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat st;
  if (!from.valid() || ::fstat(from.get(), &st) != 0)
    return Status::FromErrno(errno, path);
  // The copy is given to whom the store belongs, who may have put a link there.
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
    return {Error::kCorrupt, path + " is not a regular file with one name."};
  KF_ASSIGN_OR_RETURN(const UniqueFd to, CreateAnew(AT_FDCWD, half));
  Status status = GiveToOwnerOfParent(half, to.get());
  if (status.ok()) status = CopyContents(from.get(), to.get());
  if (status.ok()) status = Rename(half, kept);
  if (!status.ok()) {
    ::unlink(half.c_str());
    return status;
  }
  return SyncFolder(kept.substr(0, kept.rfind('/') + 1));
}

}  // namespace keyfold
