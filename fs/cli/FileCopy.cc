#include "fs/cli/FileCopy.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "fs/cli/PartialCopy.h"

namespace keyfold {
namespace {

constexpr uint64_t kMostAtOnce = 1 << 20;
constexpr int kMostAttempts = 3;
constexpr auto kPause = std::chrono::milliseconds(50);

}  // namespace

void FileCopy::Take(const CopyObject& object) {
  if (!IsToBeMade(object)) return;
  if (run_.plan.dry_run) return WouldCopy(object);
  Hand([this, object] { Copy(object); });
}

void FileCopy::WouldCopy(const CopyObject& object) {
  if (::faccessat(object.place->from.get(), object.name.c_str(), R_OK, AT_EACCESS) != 0)
    return run_.tally.Failed(run_.Source(object.Path()),
                             Status::FromErrno(errno, "open"));
  Done(object, false);
}

void FileCopy::Done(const CopyObject& object, bool there) {
  run_.tally.Count(there ? &TreeCopyCounts::there : &TreeCopyCounts::files);
  run_.tally.Count(there ? &TreeCopyCounts::there_bytes : &TreeCopyCounts::bytes,
                   static_cast<uint64_t>(object.st.st_size));
  if (object.st.st_nlink <= 1) return;
  const std::lock_guard lock(mutex_);
  done_.insert({object.st.st_dev, object.st.st_ino});
}

void FileCopy::Hand(std::function<void()> task) {
  if (workers_ == nullptr) return task();
  workers_->Hand(std::move(task));
}

bool FileCopy::IsToBeMade(const CopyObject& object) {
  if (!object.place->to.valid()) return true;
  const auto there = StatOf(object.place->to.get(), object.name);
  if (there.status().sys_errno() == ENOENT) return true;
  if (!there.ok()) {
    run_.tally.Failed(run_.Copy(object.Path()), there.status());
    return false;
  }
  if (!IsSameFile(object.st, *there))
    return run_.MayReplace(object.Path(), object.st.st_mode, there->st_mode);
  if (run_.plan.compare) {
    Hand([this, object] { Compare(object); });
    return false;
  }
  run_.TellOther(object.Path(), object.st, *there);
  Done(object, true);
  return false;
}

void FileCopy::Compare(const CopyObject& object) {
  if (run_.tally.stopped()) return;
  const auto compared =
      CompareContents({object.place->from.get(), object.name}, object.st,
                      {object.place->to.get(), object.name}, OptionsOf(object.Path()));
  if (!compared.ok())
    return run_.tally.Failed(run_.Copy(object.Path()), compared.status());
  if (compared->same) {
    run_.Mend(object.Path(), object.st, compared->source.get(), compared->copy.get());
    return Done(object, true);
  }
  if (!run_.plan.overwrite)
    return run_.tally.Conflict(run_.Copy(object.Path()), "in contents");
  if (run_.plan.dry_run) return Done(object, false);
  Copy(object);
}

void FileCopy::Copy(const CopyObject& object) {
  for (int attempt = 1; !run_.tally.stopped(); ++attempt) {
    bool of_source = false;
    const Status status = OrNoMemory([&] {
      return MakeWholeFile({object.place->from.get(), object.name}, object.st,
                           {object.place->to.get(), object.name},
                           OptionsOf(object.Path()), &of_source);
    });
    if (status.ok()) return Done(object, false);
    const int error = status.sys_errno();
    // Somebody lost a right to the file, and all have to open it again.
    const bool goes_again = error == ESTALE || (!of_source && IsOfOtherSweep(error));
    if (goes_again && attempt < kMostAttempts) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    if (error == EEXIST) return MadeMeanwhile(object);
    if (of_source && error == ENOENT)
      return run_.tally.WentAway(run_.Source(object.Path()));
    return run_.tally.Failed(
        of_source ? run_.Source(object.Path()) : run_.Copy(object.Path()), status);
  }
}

// Another copy of the same tree may have been first.
void FileCopy::MadeMeanwhile(const CopyObject& object) {
  const auto there = StatOf(object.place->to.get(), object.name);
  if (there.ok() && IsSameFile(object.st, *there)) return Done(object, true);
  run_.tally.Conflict(run_.Copy(object.Path()), "somebody made it meanwhile");
}

WholeFileOptions FileCopy::OptionsOf(const std::string& path) {
  WholeFileOptions options;
  options.keeping = run_.plan.keeping;
  options.read_back = run_.plan.read_back;
  options.overwrite = run_.plan.overwrite;
  options.part = run_.plan.limit.Part(kMostAtOnce);
  options.passed = [this](uint64_t bytes, bool again) {
    return run_.tally.Spend(again ? 0 : bytes);
  };
  options.lost = run_.LostOf(run_.Copy(path));
  return options;
}

}  // namespace keyfold
