#include "fs/cli/MountTable.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "fs/backend/Backend.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/Process.h"
#include "fs/cli/Store.h"

namespace keyfold {
namespace {

constexpr char kSocketXattr[] = "user.keyfold.socket";
constexpr size_t kMaxMountInfo = 16 << 20;
constexpr int kPatienceMs = 5000;  // with a daemon

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Space, tab, newline and backslash stand as \040 and so on.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(&text[i + 1], &text[i + 4], code, 8).ptr == &text[i + 4]) {
      out += static_cast<char>(code);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

uid_t OwnerIn(std::string_view options) {
  uid_t owner = 0;
  for (std::string_view option : Split(options, ','))
    if (option.starts_with("user_id="))
      std::from_chars(option.data() + 8, option.data() + option.size(), owner);
  return owner;
}

// "0:52"
dev_t DeviceIn(std::string_view text) {
  unsigned major = 0, minor = 0;
  const char* const end = text.data() + text.size();
  const auto colon = std::from_chars(text.data(), end, major).ptr;
  if (colon != end) std::from_chars(colon + 1, end, minor);
  return ::makedev(major, minor);
}

Status Failure(const MountEntry& mount, int error) {
  if (error == ENOTCONN)
    return Status(Error::kSystem, "The daemon of " + mount.mountpoint +
                                      " is gone. Run: keyfold unmount " +
                                      mount.mountpoint);
  if (error == ETIMEDOUT)
    return Status::FromErrno(error, "The daemon of " + mount.mountpoint +
                                        " is stopped, or waits for the disk of " +
                                        mount.store);
  return Status::FromErrno(error, mount.mountpoint);
}

struct Answered {
  ssize_t size = -1;
  int error = 0;
  char socket[256];
};

// Ask is the life of the process that asks.
[[noreturn]] void Ask(const char* root, int to) {
  Answered answered;
  answered.size =
      ::getxattr(root, kSocketXattr, answered.socket, sizeof answered.socket);
  answered.error = answered.size < 0 ? errno : ENODATA;
  (void)!::write(to, &answered, sizeof answered);
  ::_exit(0);
}

// BeginAsking has a process ask the daemon, and gives what will have the answer. Who
// asks one that hangs may stay in the kernel; so it is nobody's child and holds nothing
// that others wait for.
Result<UniqueFd> BeginAsking(int root) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::FromErrno(errno, "pipe");
  UniqueFd from(ends[0]), to(ends[1]);
  const std::string path = FdPath(root);
  const pid_t child = ::fork();
  if (child < 0) return Status::FromErrno(errno, "fork");
  if (child == 0) {
    if (::fork() != 0) ::_exit(0);
    CloseAllBut({root, to.get()});
    ::close_range(STDIN_FILENO, STDERR_FILENO, 0);
    Ask(path.c_str(), to.get());
  }
  ::waitpid(child, nullptr, 0);
  return from;
}

}  // namespace

std::vector<MountEntry> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> mounts;
  for (std::string_view line : Split(text, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = Split(line.substr(0, dash), ' ');
    const auto after = Split(line.substr(dash + 3), ' ');
    if (before.size() < 6 || after.size() < 3 || after[0] != "fuse.keyfold") continue;
    mounts.push_back({Unescape(before[4]), Unescape(after[1]), OwnerIn(after[2]),
                      DeviceIn(before[2])});
  }
  return mounts;
}

Result<std::vector<MountEntry>> AllMounts() {
  KF_ASSIGN_OR_RETURN(const std::string text,
                      ReadTextFile("/proc/self/mountinfo", kMaxMountInfo));
  return ParseMountInfo(text);
}

Result<std::vector<MountEntry>> KeyfoldMounts() {
  KF_ASSIGN_OR_RETURN(std::vector<MountEntry> mounts, AllMounts());
  // Another user's mount, which only that user can enter, is none of ours; and
  // its daemon need not be Keyfold.
  std::erase_if(mounts, [](const MountEntry& mount) {
    return mount.owner != 0 && mount.owner != ::geteuid();
  });
  return mounts;
}

std::optional<MountEntry> MountOf(const std::vector<MountEntry>& mounts,
                                  const std::string& path) {
  std::optional<MountEntry> found;
  for (const MountEntry& mount : mounts)
    // The last one listed lies on top.
    if (IsInside(path, mount.mountpoint) &&
        (!found || mount.mountpoint.size() >= found->mountpoint.size()))
      found = mount;
  return found;
}

Result<MountEntry> MountHolding(const std::vector<MountEntry>& mounts,
                                const std::string& path, const std::string& given) {
  const auto mount = MountOf(mounts, path);
  if (mount) return *mount;
  return Status(Error::kUsage,
                given + " is not on a Keyfold mount. See: keyfold status");
}

Result<UniqueFd> OpenRoot(const MountEntry& mount) {
  UniqueFd root(::open(mount.mountpoint.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct statx st;
  if (!root.valid() ||
      ::statx(root.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) != 0)
    return Failure(mount, errno);
  KF_ASSIGN_OR_RETURN(const auto mounts, KeyfoldMounts());
  const auto now = MountOf(mounts, mount.mountpoint);
  if (!now || now->mountpoint != mount.mountpoint || now->store != mount.store ||
      now->device != ::makedev(st.stx_dev_major, st.stx_dev_minor))
    return Status(Error::kSystem,
                  mount.mountpoint + " is not mounted any more. See: keyfold status");
  return root;
}

Result<std::string> SocketOf(const MountEntry& mount) {
  KF_ASSIGN_OR_RETURN(const UniqueFd root, OpenRoot(mount));
  KF_ASSIGN_OR_RETURN(const UniqueFd answer, BeginAsking(root.get()));
  pollfd wait{answer.get(), POLLIN, 0};
  Answered answered;
  if (::poll(&wait, 1, kPatienceMs) != 1) return Failure(mount, ETIMEDOUT);
  if (::read(answer.get(), &answered, sizeof answered) != sizeof answered)
    return Failure(mount, EIO);
  if (answered.size <= 0) return Failure(mount, answered.error);
  return std::string(answered.socket, static_cast<size_t>(answered.size));
}

}  // namespace keyfold
