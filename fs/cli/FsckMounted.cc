// keyfold fsck of what is mounted, as the user who runs it.
#include <unistd.h>

#include <thread>

#include "fs/cli/Attended.h"
#include "fs/cli/Connection.h"
#include "fs/cli/ExitCode.h"
#include "fs/cli/Fsck.h"
#include "fs/cli/FsckReport.h"
#include "fs/cli/MountedCheck.h"
#include "fs/cli/Report.h"
#include "fs/cli/SizeAhead.h"

namespace keyfold {
namespace {

// VerifyLog has the daemon look at its own log.
std::optional<Finding> VerifyLog(const MountEntry& mount) {
  const Status status =
      CallOn(mount, "audit", "VerifyLog", nlohmann::json::object()).status();
  if (status.ok()) return std::nullopt;
  const bool refused = status.error() == Error::kAccessDenied;
  return Finding{
      refused ? FindingKind::kNoRight : FindingKind::kAuditLog, "",    "audit", {},
      refused ? "you may not look at it" : status.message(),    false, ""};
}

}  // namespace

int FsckMounted(const FsckOptions& options, const MountEntry& mount,
                const std::string& path) {
  if (options.repair || options.resume)
    return FailFsck({Error::kUsage, mount.mountpoint +
                                        " is mounted, and nothing was checked: "
                                        "--repair and --resume are for a store that is "
                                        "not. Unmount it, and name the store: " +
                                        mount.store});
  FsckReport report(options.json, options.progress || ::isatty(STDERR_FILENO) == 1, {},
                    "It was cut off.");
  MountedCheckOptions what;
  what.contents = !options.quick;
  what.jobs = JobsOf(options);
  what.found = [&](const Finding& finding) { report.Add(finding); };
  MountedCheck check(what);
  if (const auto finding = VerifyLog(mount)) report.Add(*finding);
  std::optional<SizeAhead> size;
  if (what.contents) size.emplace(path, MeasuredBytes::kLength);
  Status done = OkStatus();
  const bool complete = Attend({[&] { done = check.Run(path); }, [&] { check.Stop(); },
                                [&] {
                                  report.Progress(Plus({}, check.tally()),
                                                  size ? size->Known() : TreeSize());
                                }});
  report.EndProgress();
  if (!done.ok()) (void)Fail(done);
  const FsckCounts counts = Plus(report.Found(), check.tally());
  int code = (counts.damaged > 0 ? kFsckDamaged : 0) | (complete ? 0 : kFsckCancelled) |
             (done.ok() ? 0 : kFsckFailed);
  report.Summarize(counts, complete && done.ok(), code);
  if (!report.Printed().ok()) code |= kFsckFailed;
  return code;
}

}  // namespace keyfold
