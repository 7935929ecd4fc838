#include "fs/cli/MountTable.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <future>
#include <thread>

#include "fs/cli/Parameters.h"
#include "fs/cli/Store.h"

namespace keyfold {
namespace {

constexpr char kSocketXattr[] = "user.keyfold.socket";
constexpr size_t kMaxMountInfo = 16 << 20;
constexpr std::chrono::seconds kPatience{5};  // with a daemon

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

Result<std::string> SocketOf(const MountEntry& mount) {
  // Who asks a daemon that hangs waits in the kernel, so a thread that may stay there
  // asks.
  std::promise<Result<std::string>> promise;
  auto answer = promise.get_future();
  std::thread([promise = std::move(promise), path = mount.mountpoint]() mutable {
    char value[256];
    const ssize_t size = ::getxattr(path.c_str(), kSocketXattr, value, sizeof value);
    promise.set_value(size > 0 ? Result(std::string(value, static_cast<size_t>(size)))
                               : Status::FromErrno(size < 0 ? errno : ENODATA, path));
  }).detach();
  if (answer.wait_for(kPatience) != std::future_status::ready)
    return Status::FromErrno(ETIMEDOUT, "The daemon of " + mount.mountpoint);
  auto socket = answer.get();
  if (socket.status().sys_errno() == ENOTCONN)
    return Status(Error::kSystem, "The daemon of " + mount.mountpoint +
                                      " is gone. Run: keyfold unmount " +
                                      mount.mountpoint);
  return socket;
}

}  // namespace keyfold
