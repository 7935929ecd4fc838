#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "fs/cli/BusyNews.h"
#include "fs/cli/Commands.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/HeldSignals.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/Report.h"
#include "fs/cli/Store.h"
#include "fs/cli/Times.h"
#include "fs/cli/Unmount.h"
#include "fs/cli/UserName.h"

namespace keyfold {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr int kTimeoutTenths = 300;  // 30 s, for the daemon to write what it has

struct UnmountWords {
  std::string mountpoint;
  std::string timeout = "10s";
  bool now = false;
};

std::string InUse(const std::vector<BusyProcess>& users) {
  return InUseBy(users, /*sees_all=*/::geteuid() == 0);
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

// StillThere says who kept the mount from going, and why it is not waited for longer.
Status StillThere(const std::string& mountpoint, const std::string& why) {
  return {Error::kLocked, mountpoint + " is still mounted, and " +
                              InUse(BusyProcesses(mountpoint)) + ". " + why +
                              ". End what uses it and try again, or take it away from "
                              "them: --now"};
}

// Unused unmounts as soon as nobody uses the mount, and says for whom it waits whenever
// that changes. kLocked when it gives up.
Status Unused(const std::string& mountpoint, seconds patience) {
  const HeldSignals signals;
  const auto until = steady_clock::now() + patience;
  BusyNews news;
  for (;;) {
    const Status status = Unmount(mountpoint, false);
    if (status.sys_errno() != EBUSY) return status;
    if (steady_clock::now() >= until)
      return StillThere(
          mountpoint, "Gave up after " + std::to_string(patience.count()) + " seconds");
    const auto users = BusyProcesses(mountpoint);
    if (news.IsNews(users))
      std::fprintf(stderr, "keyfold: waiting, as %s is %s\n",
                   Harmless(mountpoint).c_str(), InUse(users).c_str());
    if (signals.Take({0, 200'000'000})) return StillThere(mountpoint, "Cut off");
  }
}

// AtOnce has the daemon do as when it is told to end: what was written is kept, and
// those who have files open get errors.
Status AtOnce(const std::string& mountpoint, pid_t daemon) {
  if (Unmount(mountpoint, false).ok()) return OkStatus();
  for (const BusyProcess& process : BusyProcesses(mountpoint))
    std::fprintf(stderr, "keyfold: taken from %s\n", process.ToString().c_str());
  if (daemon > 0 && ::kill(daemon, SIGTERM) == 0) return OkStatus();
  return Unmount(mountpoint, true);
}

Status UnmountAndWait(const UnmountWords& words) {
  const auto patience = ParseSpan(words.timeout);
  if (!patience)
    return {Error::kUsage, "--timeout expects a time such as 90s, 10m or 0s."};
  const std::string& named = words.mountpoint;
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
  KF_RETURN_IF_ERROR(words.now ? AtOnce(mount->mountpoint, daemon)
                               : Unused(mount->mountpoint, *patience));
  if (!own) return OkStatus();  // what lies behind another user's is not to be trusted
  for (int i = 0; i < kTimeoutTenths; ++i) {
    if (!IsAlive(daemon) && !StoreLock::IsHeld(mount->store)) return OkStatus();
    std::this_thread::sleep_for(milliseconds(i < 20 ? 10 : 100));
  }
  return {Error::kLocked, "Unmounted, but the daemon (process " +
                              std::to_string(daemon) +
                              ") still uses the store. Wait for it to end."};
}

}  // namespace

void AddUnmount(CLI::App& app, Run* run) {
  const auto words = std::make_shared<UnmountWords>();
  CLI::App* unmount = app.add_subcommand(
      "unmount", "Takes a mount away, and waits for its daemon to end");
  unmount->alias("umount");
  unmount->add_option("mountpoint", words->mountpoint, "The mount")
      ->required()
      ->type_name("MOUNTPOINT");
  CLI::Option* timeout =
      unmount
          ->add_option("--timeout", words->timeout,
                       "How long to wait for those who use it; 10s if not given, 0s to "
                       "try once")
          ->type_name("SPAN");
  unmount
      ->add_flag("--now", words->now,
                 "Wait for nobody: what was written is kept, and who has files open "
                 "gets errors")
      ->excludes(timeout);
  unmount->footer(
      "While the mount is in use it waits, and says for whom: processes, users and "
      "files,\nas far as you may see them. When it gives up the mount stays, and the "
      "exit code is 5.\n"
      "Examples:\n  keyfold unmount /srv/finance --timeout 5m\n"
      "  keyfold unmount /srv/finance --now");
  unmount->callback([words, run] {
    *run = [words] {
      const Status status = UnmountAndWait(*words);
      return status.ok() ? 0 : Fail(status);
    };
  });
}

}  // namespace keyfold
