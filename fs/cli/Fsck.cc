#include "fs/cli/Fsck.h"

#include <unistd.h>

#include <chrono>
#include <thread>

#include "fs/cli/Attended.h"
#include "fs/cli/ExitCode.h"
#include "fs/cli/FsckReport.h"
#include "fs/cli/FsckState.h"
#include "fs/cli/Process.h"
#include "fs/cli/Report.h"
#include "fs/cli/SizeAhead.h"
#include "fs/cli/Store.h"
#include "fs/cli/Terminal.h"
#include "fs/vault/Checker.h"
#include "kms/service/StoreCheck.h"

namespace keyfold {
namespace {

using std::chrono::steady_clock;

constexpr auto kSaveInterval = std::chrono::minutes(1);
constexpr unsigned kMostJobs = 256;

Finding OfStore(FindingKind kind, const char* part, const Status& status) {
  return {kind, "", part, {}, status.message(), false, ""};
}

Finding OfPart(StorePart part, const Status& status) {
  switch (part) {
    case StorePart::kConfiguration:
      return OfStore(FindingKind::kConfiguration, "keyfold.json", status);
    case StorePart::kKeyStore:
      return OfStore(FindingKind::kKeyStore, "keys.db", status);
    case StorePart::kAuditLog:
      break;
  }
  return OfStore(FindingKind::kAuditLog, "audit", status);
}

// IsStoreWithoutConfiguration: what lost its keyfold.json is a store still.
bool IsStoreWithoutConfiguration(const std::string& path) {
  return ::access((path + "/keys.db").c_str(), F_OK) == 0 &&
         ::access((path + "/tree").c_str(), F_OK) == 0;
}

// Checking is one check of an open store.
class Checking {
 public:
  Checking(const FsckOptions& options, OpenStore& store, const FsckState& before)
      : options_(options),
        store_(store),
        before_(before),
        report_(options.json, options.progress || ::isatty(STDERR_FILENO) == 1,
                before.counts, "It was cut off. Go on with: keyfold fsck --resume") {}

  int Do() {
    const Status done = Check();
    report_.EndProgress();
    if (!done.ok()) (void)Fail(done);
    const bool complete = done.ok() && complete_;
    const FsckCounts counts = counts_;
    int code = (counts.repaired > 0 ? kFsckRepaired : 0) |
               (counts.damaged > 0 ? kFsckDamaged : 0) |
               (complete ? 0 : (cancelled_ ? kFsckCancelled : kFsckFailed));
    report_.Summarize(counts, complete, code);
    if (!report_.Printed().ok()) code |= kFsckFailed;
    return code;
  }

 private:
  Status Check() {
    auto key = store_.OpenMetadataKey();
    if (key.status().error() == Error::kCorrupt) {
      report_.Add(OfPart(StorePart::kConfiguration, key.status()));
      counts_ = report_.Found();
      return {Error::kSystem, "Without the metadata key no file can be checked."};
    }
    if (!key.ok()) return key.status();
    KF_ASSIGN_OR_RETURN(
        const auto check,
        store_.kms().BeginCheck(
            WhoeverRunsThis(),
            {{"repair", options_.repair ? "true" : "false"},
             {"contents", options_.quick ? "false" : "true"},
             {"resumed", before_.reached.through.empty() ? "false" : "true"}}));
    const Status log = check->VerifyRecords();
    if (log.error() == Error::kCorrupt)
      report_.Add(OfPart(StorePart::kAuditLog, log));
    else if (!log.ok())
      return log;
    KF_ASSIGN_OR_RETURN(auto checkpoints, Checkpoints::OpenToCheck(store_.kms()));
    Quarantine quarantine(store_.path(), FormatUtc(Clock::System().Now()));
    Checker checker(OptionsOf(), *key, *check, std::move(checkpoints), quarantine);
    const Status walked = Walk(checker);
    counts_ = Counts(checker);
    complete_ = checker.complete();
    const Status kept =
        complete_ ? ClearFsckState(store_.path(), store_.kms()) : Save(checker);
    const Status told = check->Record("EndCheckStore", "", Summary(), walked);
    if (!walked.ok()) return walked;
    return kept.ok() ? told : kept;
  }

  CheckOptions OptionsOf() {
    CheckOptions options;
    options.vault = {store_.path() + "/tree", store_.config().account.store_id};
    options.repair = options_.repair;
    options.contents = !options_.quick;
    options.jobs = JobsOf(options_);
    options.before = before_.reached;
    options.found = [this](const Finding& finding) { report_.Add(finding); };
    return options;
  }

  // Walk checks, and saves now and then how far it is.
  Status Walk(Checker& checker) {
    std::optional<SizeAhead> size;
    if (!options_.quick) size.emplace(store_.path() + "/tree", MeasuredBytes::kStored);
    Status status = OkStatus();
    auto saved = steady_clock::now();
    cancelled_ = !Attend({[&] { status = checker.Run(); }, [&] { checker.Stop(); },
                          [&] {
                            report_.Progress(LookedAt(checker),
                                             size ? size->Known() : TreeSize());
                            if (steady_clock::now() - saved < kSaveInterval) return;
                            // It only saves work; at the end it is told how that ended.
                            (void)Save(checker);
                            saved = steady_clock::now();
                          }});
    return status;
  }

  Status Save(const Checker& checker) {
    const FsckState state{checker.Reached(), Counts(checker), !options_.quick};
    if (state.reached.through.empty()) return OkStatus();
    return SaveFsckState(store_.path(), store_.kms(), state);
  }

  // LookedAt counts what the check passed, without findings, of which there may be many
  // waiting to be printed.
  FsckCounts LookedAt(const Checker& checker) const {
    return Plus(before_.counts, checker.tally());
  }

  FsckCounts Counts(const Checker& checker) const {
    return Plus(report_.Found(), checker.tally());
  }

  StoreCheck::Details Summary() const {
    const FsckCounts& counts = counts_;
    return {{"files", std::to_string(counts.files)},
            {"damaged", std::to_string(counts.damaged)},
            {"repaired", std::to_string(counts.repaired)},
            {"notChecked", std::to_string(counts.not_checked)},
            {"complete", complete_ ? "true" : "false"}};
  }

  const FsckOptions& options_;
  OpenStore& store_;
  const FsckState before_;
  FsckReport report_;
  FsckCounts counts_ = before_.counts;
  bool complete_ = false;
  bool cancelled_ = false;
};

// WhyNotOpen tells of a store that does not open: damage is a finding.
int WhyNotOpen(const FsckOptions& options, const Status& status, StorePart part) {
  const bool lost =
      status.error() == Error::kNotAStore && IsStoreWithoutConfiguration(options.store);
  if (status.error() == Error::kLocked)
    return FailFsck(
        {Error::kLocked, status.message() +
                             ". Nothing was checked: unmount it first, or name its "
                             "mountpoint to check what you may read of it."});
  if (!lost && status.error() != Error::kCorrupt) return FailFsck(status);
  FsckReport report(options.json, false, {}, "What it holds was not checked.");
  report.Add(OfPart(part, status));
  const int code = kFsckDamaged | kFsckFailed;
  report.Summarize(report.Found(), false, code);
  return code;
}

}  // namespace

int FailFsck(const Status& status) {
  (void)Fail(status);
  return kFsckFailed;
}

unsigned JobsOf(const FsckOptions& options) {
  const unsigned jobs =
      options.jobs != 0 ? options.jobs : std::thread::hardware_concurrency();
  return std::min(jobs, kMostJobs);
}

int Fsck(const FsckOptions& options) {
  Harden();
  if (const auto path = RealPath(options.store); path.ok())
    if (const auto mounts = KeyfoldMounts(); mounts.ok())
      if (const auto mount = MountOf(*mounts, *path))
        return FsckMounted(options, *mount, *path);
  StorePart part = StorePart::kConfiguration;
  auto store = OpenStore::Open(options.store, options.root_key, AskPassphrase, &part);
  if (!store.ok()) return WhyNotOpen(options, store.status(), part);
  FsckState before;
  if (options.resume) {
    auto found = LoadFsckState(store->path(), store->kms());
    if (!found.ok()) return FailFsck(found.status());
    if (!*found || (*found)->contents == options.quick)
      return FailFsck(
          {Error::kUsage, "There is no such check of " + store->path() +
                              " to go on with. Begin one without --resume."});
    before = **std::move(found);
  } else if (const Status cleared = ClearFsckState(store->path(), store->kms());
             !cleared.ok()) {
    return FailFsck(cleared);
  }
  return Checking(options, *store, before).Do();
}

}  // namespace keyfold
