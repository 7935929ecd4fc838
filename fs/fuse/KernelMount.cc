#include "fs/fuse/KernelMount.h"

#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <string_view>

namespace keyfold {
namespace {

// Log takes libfuse's own lines: what fails is told by a Status.
void Log(fuse_log_level, const char* format, va_list arguments) {
  char line[512];
  std::vsnprintf(line, sizeof line, format, arguments);
  std::string_view text = line;
  if (text.ends_with('\n')) text.remove_suffix(1);
  spdlog::debug("{}", text);
}

// CheckRights tells beforehand what fusermount3 would refuse a user in words of
// its own.
Status CheckRights(const std::string& mountpoint) {
  if (::access("/dev/fuse", F_OK) != 0)
    return {Error::kSystem, "There is no /dev/fuse. Load the module: modprobe fuse"};
  if (::faccessat(AT_FDCWD, "/dev/fuse", R_OK | W_OK, AT_EACCESS) != 0)
    return {Error::kSystem,
            "You may not use /dev/fuse. Mount as root, or ask root for: chmod 666 "
            "/dev/fuse"};
  // Root needs no right to the folder.
  if (::geteuid() != 0 &&
      ::faccessat(AT_FDCWD, mountpoint.c_str(), W_OK, AT_EACCESS) != 0)
    return {Error::kSystem, "You may not write to " + mountpoint +
                                ". Mount on a folder of your own, or as root."};
  return OkStatus();
}

// WidenReadahead lets the kernel ask for as much ahead as one request may bring; FUSE's
// own limit is an eighth of that. Only root may, and nothing depends on it.
void WidenReadahead(const std::string& mountpoint) {
  struct statx info;
  // Without asking the filesystem, which does not answer yet.
  if (::statx(AT_FDCWD, mountpoint.c_str(), AT_STATX_DONT_SYNC, 0, &info) != 0) return;
  const std::string path = "/sys/class/bdi/" + std::to_string(info.stx_dev_major) +
                           ":" + std::to_string(info.stx_dev_minor) + "/read_ahead_kb";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  const UniqueFd setting(fd);
  const std::string value = std::to_string(kMaxRequest / 1024);
  if (::write(fd, value.data(), value.size()) < 0) spdlog::debug("cannot set {}", path);
}

// EscapeOption keeps a path with a comma from being read as more options.
std::string EscapeOption(const std::string& value) {
  std::string out;
  for (char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string FlagsOf(const KernelMount& mount) {
  std::string flags =
      "default_permissions,subtype=keyfold,max_read=" + std::to_string(kMaxRequest) +
      ",fsname=" + EscapeOption(mount.source);
  if (::geteuid() == 0) flags += ",allow_other";
  for (const std::string& option : mount.options) flags += "," + option;
  return flags;
}

Status Failure(const std::string& what) {
  return Status::FromErrno(errno == 0 ? EIO : errno, what);
}

}  // namespace

Result<fuse_session*> NewSession(const KernelMount& mount, const fuse_lowlevel_ops& ops,
                                 void* data) {
  fuse_set_log_func(Log);
  const std::string flags = FlagsOf(mount);
  std::vector<const char*> argv = {"keyfold", "-o", flags.c_str()};
  if (mount.debug) argv.push_back("-d");
  fuse_args args =
      FUSE_ARGS_INIT(static_cast<int>(argv.size()), const_cast<char**>(argv.data()));
  fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, data);
  fuse_opt_free_args(&args);
  if (session == nullptr)
    return Status(Error::kUsage, "unknown mount option among: " + flags);
  return session;
}

Status MountSession(fuse_session* session, const KernelMount& mount) {
  KF_RETURN_IF_ERROR(CheckRights(mount.mountpoint));
  if (fuse_session_mount(session, mount.mountpoint.c_str()) != 0)
    return Failure("mount on " + mount.mountpoint);
  WidenReadahead(mount.mountpoint);
  return OkStatus();
}

Result<UniqueFd> MountForAnother(const KernelMount& mount) {
  const fuse_lowlevel_ops none{};
  KF_ASSIGN_OR_RETURN(fuse_session* const session, NewSession(mount, none, nullptr));
  Status status = MountSession(session, mount);
  UniqueFd device;
  if (status.ok()) {
    device = UniqueFd(::fcntl(fuse_session_fd(session), F_DUPFD_CLOEXEC, 0));
    if (!device.valid()) {
      status = Failure("mount on " + mount.mountpoint);
      fuse_session_unmount(session);
    }
  }
  fuse_session_destroy(session);  // which leaves the mount
  KF_RETURN_IF_ERROR(status);
  return device;
}

Status ServeFrom(UniqueFd device, fuse_session* session) {
  const std::string name = "/dev/fd/" + std::to_string(device.get());
  if (fuse_session_mount(session, name.c_str()) != 0) return Failure("serve " + name);
  (void)device.Release();
  return OkStatus();
}

}  // namespace keyfold
