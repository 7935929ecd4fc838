#include "fs/cli/TreeCopyCommand.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "fs/cli/Attended.h"
#include "fs/cli/ExitCode.h"
#include "fs/cli/KeyAttributes.h"
#include "fs/cli/KeyRefusal.h"
#include "fs/cli/Report.h"
#include "fs/cli/SizeAhead.h"
#include "fs/cli/Store.h"

namespace keyfold {
namespace {

// Each file waits for its disk, so there are more threads than cores.
constexpr unsigned kLeastJobs = 4, kMostJobs = 16;
constexpr mode_t kOfOwner = 0700;

// Reasons finds out why a mount refuses, once for each key.
class Reasons {
 public:
  // For people, who need not read a reason twice, it is told once for each key.
  Reasons(const TreeCopyJob& job, bool for_people) : job_(job), once_(for_people) {}

  Status Of(const std::string& path, const Status& why) {
    if (!IsInside(path, job_.mount.mountpoint)) return why;
    const int error = why.sys_errno();
    if (error == EIO)
      return {Error::kCorrupt,
              "it does not authenticate, or the disk fails. See: keyfold fsck " + path};
    if (error != EACCES && error != ENOKEY) return why;
    auto key = KeyIdOf(path);
    if (!key.ok()) key = KeyIdOf(path.substr(0, path.rfind('/')));
    if (!key.ok()) return why;
    const auto [found, is_new] = known_.try_emplace({*key, error}, OkStatus());
    if (is_new) found->second = WhyKeyRefuses(job_.mount, *key, job_.actions, error);
    if (found->second.ok()) return why;
    return is_new || !once_
               ? found->second
               : Status(found->second.error(), "refused as before, by the key");
  }
  // OfDestination is why nothing would get in, as far as the folder's own key tells.
  Status OfDestination() const {
    if (!IsInside(job_.to, job_.mount.mountpoint)) return OkStatus();
    const auto key = KeyIdOf(job_.to);
    if (!key.ok()) return OkStatus();
    KF_RETURN_IF_ERROR(WhyKeyRefuses(job_.mount, *key, job_.actions, EACCES));
    return WhyKeyRefuses(job_.mount, *key, job_.actions, ENOKEY);
  }

 private:
  const TreeCopyJob& job_;
  const bool once_;
  std::map<std::pair<std::string, int>, Status> known_;
};

// Damage is graver than a refusal, that than what a disk or conflict causes, and that
// than what was left out.
int Graver(int a, int b) {
  const auto gravity = [](int code) {
    switch (code) {
      case kExitOk:
        return 0;
      case kExitIncomplete:
        return 1;
      case kExitRefused:
        return 3;
      case kExitDamaged:
        return 4;
      default:
        return 2;
    }
  };
  return gravity(b) > gravity(a) ? b : a;
}

int CodeOf(const Status& why) {
  const int error = why.sys_errno();
  return error == EACCES || error == EPERM ? kExitRefused : ExitCodeOf(why);
}

}  // namespace

void AddTreeCopyOptions(CLI::App* app, TreeCopyOptions* options) {
  app->add_flag("--dry-run", options->dry_run,
                "Change nothing; say what would be copied, and what is in the way");
  app->add_flag(
      "--overwrite", options->overwrite,
      "Replace files and links that are there and differ; folders never. Other "
      "hard links of what is replaced keep what they have");
  app->add_flag(
      "--compare", options->compare,
      "Also compare the contents of files that are there already, though size "
      "and time are the same; where they are, mend owner, mode, lists and attributes");
  app->add_flag("--no-read-back", options->no_read_back,
                "Do not read back what was copied");
  app->add_flag("--no-owner", options->no_owner,
                "What is copied is yours, whoever owns it in the source");
  app->add_flag(
      "--cross-filesystems", options->cross,
      "Also what other filesystems show below the source, and into those that are "
      "mounted in the destination");
  AddRateLimit(app, &options->rate_limit);
  app->add_flag("--progress", options->progress,
                "Show how far it is, though standard error is no terminal");
  AddOutputOption(app, &options->format);
}

Status CheckOutsideStores(const std::string& path, const std::string& given) {
  KF_ASSIGN_OR_RETURN(const auto mounts, AllMounts());
  for (const MountEntry& mount : mounts)
    if (IsInside(path, mount.store))
      return {Error::kUsage, given + " lies in a store. Name a folder of its mount, " +
                                 mount.mountpoint + "."};
  return OkStatus();
}

Result<UniqueFd> OpenDestination(const std::string& path, const std::string& given) {
  auto folder = OpenBelow(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, true);
  const int error = folder.status().sys_errno();
  if (error == ENOTDIR) return Status(Error::kUsage, given + " is no folder.");
  if (!folder.ok()) return Status::FromErrno(error, given);
  return folder;
}

int RunTreeCopy(const TreeCopyOptions& options, TreeCopyJob job) {
  const auto limit = RateLimitOf(options.rate_limit);
  if (!limit.ok()) return Fail(limit.status());
  CopyPlan plan;
  plan.keeping.owners = !options.no_owner;
  if (!options.keep_permissions) plan.keeping.permissions = kOfOwner;
  plan.overwrite = options.overwrite;
  plan.read_back = !options.no_read_back;
  plan.compare = options.compare;
  plan.cross = options.cross;
  plan.dry_run = options.dry_run;
  plan.limit = *limit;
  plan.jobs =
      std::clamp(2 * std::thread::hardware_concurrency(), kLeastJobs, kMostJobs);
  const bool progress = options.progress || ::isatty(STDERR_FILENO) == 1;
  TreeCopyReport report(options.format == "json", progress, job.words);
  Reasons reasons(job, options.format != "json");
  int exit_code = kExitOk;
  CopyListener listener;
  listener.failed = [&](const std::string& path, const Status& why) {
    const Status told = reasons.Of(path, why);
    exit_code = Graver(exit_code, CodeOf(told));
    report.Failed(path, told);
  };
  listener.lost = [&](const std::string& path, const std::string& what,
                      const Status& why) { report.NotKept(path, what, why); };
  listener.left_out = [&](const std::string& path, const std::string& why) {
    exit_code = Graver(exit_code, kExitIncomplete);
    report.LeftOut(path, why);
  };
  if (plan.dry_run)
    if (const Status why = reasons.OfDestination(); !why.ok())
      listener.failed(job.to, why);
  (void)RaiseDescriptorLimit();
  TreeCopy copy(plan, listener);
  std::optional<SizeAhead> size;
  if (progress) size.emplace(job.from, MeasuredBytes::kData);
  Status done;
  const bool attended = Attend(
      {[&] {
         done = OrNoMemory(
             [&] { return copy.Run(job.from, std::move(job.to_folder), job.to); });
       },
       [&] { copy.Stop(); },
       [&] { report.Progress(copy.Counts(), size ? size->Known() : TreeSize()); }});
  report.EndProgress();
  if (!done.ok() && exit_code == kExitOk) exit_code = Fail(done);
  if (!attended) exit_code = Graver(exit_code, kExitFailed);
  const bool complete = attended && done.ok();
  const Status printed = report.Summarize(
      copy.Counts(), {options.dry_run, complete, plan.read_back, exit_code});
  return printed.ok() ? exit_code : Fail(printed);
}

}  // namespace keyfold
