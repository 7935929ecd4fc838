#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include "fs/cli/Commands.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"
#include "fs/cli/Unmount.h"

namespace keyfold {
namespace {

constexpr int kTimeoutTenths = 300;  // 30 s, for the daemon to write what it has

// Busy says who uses the mount, as far as this user may see.
Status Busy(const std::string& mountpoint) {
  std::string users;
  for (const std::string& process : BusyProcesses(mountpoint))
    users += (users.empty() ? " by " : ", ") + process;
  return {Error::kLocked,
          mountpoint + " is in use" + users + ". End what uses it, and try again."};
}

std::string UserName(uid_t uid) {
  const passwd* user = ::getpwuid(uid);
  return user != nullptr ? user->pw_name : "user " + std::to_string(uid);
}

// DaemonOf is 0 when no daemon answers.
pid_t DaemonOf(const MountEntry& mount) {
  auto connection = ConnectTo(mount);
  if (!connection.ok()) return 0;
  const auto status =
      (*connection)->Call("store", "GetStatus", nlohmann::json::object());
  return status.ok() ? status->value("Pid", 0) : 0;
}

// IsAlive is false for a process that ended and was not waited for yet.
bool IsAlive(pid_t pid) {
  if (pid <= 0) return false;
  const auto stat = ReadTextFile("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!stat.ok()) return false;
  const size_t state = stat->rfind(") ");
  return state != std::string::npos && stat->find_first_of("ZX", state) != state + 2;
}

Status UnmountAndWait(const std::string& named) {
  KF_ASSIGN_OR_RETURN(const auto mounts, AllMounts());
  const auto real = RealPath(named);
  const auto mount = MountOf(mounts, real.ok() ? *real : named);
  if (!mount || mount->mountpoint != (real.ok() ? *real : named))
    return {Error::kUsage, named + " is not a Keyfold mount. See: keyfold status"};
  const bool own = mount->owner == ::geteuid();
  if (!own && ::geteuid() != 0)
    return {Error::kAccessDenied, named + " was mounted by " + UserName(mount->owner) +
                                      ". Ask them, or run this as root."};
  const pid_t daemon = own ? DaemonOf(*mount) : 0;
  const Status status = Unmount(mount->mountpoint, false);
  if (status.sys_errno() == EBUSY) return Busy(mount->mountpoint);
  KF_RETURN_IF_ERROR(status);
  if (!own) return OkStatus();  // what lies behind another user's is not to be trusted
  for (int i = 0; i < kTimeoutTenths; ++i) {
    if (!IsAlive(daemon) && !StoreLock::IsHeld(mount->store)) return OkStatus();
    std::this_thread::sleep_for(std::chrono::milliseconds(i < 20 ? 10 : 100));
  }
  return {Error::kLocked, "Unmounted, but the daemon (process " +
                              std::to_string(daemon) +
                              ") still uses the store. Wait for it to end."};
}

}  // namespace

void AddUnmount(CLI::App& app, Run* run) {
  const auto mountpoint = std::make_shared<std::string>();
  CLI::App* unmount = app.add_subcommand(
      "unmount", "Takes a mount away, and waits for its daemon to end");
  unmount->alias("umount");
  unmount->add_option("mountpoint", *mountpoint, "The mount")
      ->required()
      ->type_name("MOUNTPOINT");
  unmount->footer("Example:\n  keyfold unmount /srv/finance");
  unmount->callback([mountpoint, run] {
    *run = [mountpoint] {
      const Status status = UnmountAndWait(*mountpoint);
      return status.ok() ? 0 : Fail(status);
    };
  });
}

}  // namespace keyfold
