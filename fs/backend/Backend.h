// The system calls under the vault: owned descriptors, whole reads and writes,
// extended attributes by descriptor, and acting as the calling user.
//
// Must not know: formats or keys. Free functions, thread-safe; AsCaller
// changes the credentials of the calling thread only.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"
#include "kms/base/UniqueFd.h"

namespace keyfold {

inline const Status& StatusOf(const Status& status) { return status; }
template <typename T>
const Status& StatusOf(const Result<T>& result) {
  return result.status();
}

// OpenAt adds O_CLOEXEC and O_NOFOLLOW. kSystem on failure.
Result<UniqueFd> OpenAt(int folder, const std::string& name, int flags,
                        mode_t mode = 0);
// Reopen opens what an O_PATH descriptor refers to.
Result<UniqueFd> Reopen(int path_fd, int flags);
// The /proc/self/fd path of a descriptor, for calls that take no O_PATH one.
std::string FdPath(int fd);

// Syncs a folder's entries, given any descriptor of it.
Status SyncFolder(int folder);
Status SyncFolder(const std::string& path);

// NewFile is a regular file that gets its name only once it is complete, so
// that a daemon killed meanwhile leaves no half-made entry. Unnamed (O_TMPFILE)
// where the filesystem can, else under a temporary name.
class NewFile {
 public:
  // Create makes it in `folder`, open for reading and writing.
  static Result<NewFile> Create(int folder, mode_t mode);
  NewFile(NewFile&& other) noexcept
      : folder_(other.folder_),
        fd_(std::move(other.fd_)),
        temporary_(std::exchange(other.temporary_, {})) {}
  ~NewFile();
  int fd() const { return fd_.get(); }
  UniqueFd TakeFd() { return std::move(fd_); }
  // Publish names it; kSystem/EEXIST when the name is taken. `fd` is any
  // descriptor of the file, wherever it is owned by now.
  Status Publish(int fd, const std::string& name);

 private:
  NewFile(int folder, UniqueFd fd, std::string temporary)
      : folder_(folder), fd_(std::move(fd)), temporary_(std::move(temporary)) {}

  int folder_;
  UniqueFd fd_;
  std::string temporary_;  // empty when unnamed or published
};

// Entries with this prefix are being made, or were when the daemon was killed.
inline constexpr std::string_view kTemporaryPrefix = ".keyfold-new-";
std::string TemporaryName();

// CreateAnew makes an empty file of mode 0600 for writing, in place of whatever bears
// the name.
Result<UniqueFd> CreateAnew(int folder, const std::string& name);
// ReplaceFile puts `contents` in the place of the file `name`, by way of `name`.new; on
// return it survives power loss.
Status ReplaceFile(int folder, const std::string& name, ByteView contents);
// ReadAt returns how many bytes there were, less than asked only at the end.
Result<size_t> ReadAt(int fd, off_t offset, MutableBytes out);
Status WriteAt(int fd, off_t offset, ByteView data);
// ReadLinkAt returns the text of a symbolic link, the object of an O_PATH
// descriptor itself for an empty name.
Result<std::string> ReadLinkAt(int folder, const std::string& name);
// ForEachEntry calls `visit` with the name of each entry but "." and "..".
Status ForEachEntry(UniqueFd folder, const std::function<void(const char*)>& visit);
// SortedEntries opens the folder anew, so an O_PATH descriptor will do; or reads the
// one that is given away.
Result<std::vector<std::string>> SortedEntries(int folder);
Result<std::vector<std::string>> SortedEntries(UniqueFd folder);

// Attributes by any descriptor, O_PATH ones included. GetXattr returns nothing
// when the attribute is absent.
Result<std::optional<Bytes>> GetXattr(int fd, const std::string& name);
Status SetXattr(int fd, const std::string& name, ByteView value, int flags = 0);
Result<std::vector<std::string>> ListXattrNames(int fd);

// FsIdentity is a user as the filesystem sees one. Reading the supplementary
// groups of a process is dear, so they are asked for only when they decide.
struct FsIdentity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::function<std::vector<gid_t>()> groups;
  mode_t umask = 0;
};

// AsCaller lets the calling thread act with a user's filesystem identity until
// it goes out of scope, and with no more rights than the user's; only the umask in a
// daemon without the privilege. Raw system calls: glibc's would change every thread.
//
// The umask is left to the backing filesystem, as a folder's default access
// control list takes its place there.
class AsCaller {
 public:
  enum class Groups { kNone, kSupplementary };
  AsCaller(const FsIdentity& identity, Groups groups);
  ~AsCaller();
  AsCaller(const AsCaller&) = delete;
  AsCaller& operator=(const AsCaller&) = delete;

 private:
  bool active_ = false;
  bool groups_ = false;
  int former_ = 0;  // whom the thread acted as before
};

// OwnUmask gives the calling thread, and those it starts later, a umask that no
// other thread shares. kSystem where a sandbox forbids that.
Status OwnUmask();

// DropSupplementaryGroups takes from the whole process the groups it was started
// with, which must not count for what AsCaller does. Nothing without privilege.
void DropSupplementaryGroups();

// MakeAs runs `make` as the user. The kernel has already judged the user's right
// to the folder with all groups; they are looked up only when their absence is
// what the backing filesystem refuses, or when `needs_groups`.
template <typename Make>
auto MakeAs(const FsIdentity& identity, bool needs_groups, Make&& make) {
  if (!needs_groups) {
    const AsCaller as(identity, AsCaller::Groups::kNone);
    auto made = make();
    if (made.ok() || StatusOf(made).sys_errno() != EACCES) return made;
  }
  const AsCaller as(identity, AsCaller::Groups::kSupplementary);
  return make();
}

// RaiseDescriptorLimit lets the process open as many files as it may, and returns
// how many that are.
size_t RaiseDescriptorLimit();

}  // namespace keyfold
