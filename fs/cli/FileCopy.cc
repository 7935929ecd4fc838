#include "fs/cli/FileCopy.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace keyfold {
namespace {

constexpr uint64_t kMostAtOnce = 1 << 20;
constexpr int kMostAttempts = 3;
constexpr auto kPause = std::chrono::milliseconds(50);

}  // namespace

void FileCopy::Take(const CopyObject& object) {
  if (!IsToBeMade(object)) return;
  if (run_.plan.dry_run) {
    run_.tally.Count(&TreeCopyCounts::files);
    return run_.tally.Count(&TreeCopyCounts::bytes,
                            static_cast<uint64_t>(object.st.st_size));
  }
  Hand([this, object] { Copy(object); });
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
  run_.tally.Count(&TreeCopyCounts::there);
  run_.tally.Count(&TreeCopyCounts::there_bytes,
                   static_cast<uint64_t>(object.st.st_size));
  return false;
}

void FileCopy::Compare(const CopyObject& object) {
  if (run_.tally.stopped()) return;
  const auto same =
      HaveSameContents({object.place->from.get(), object.name}, object.st,
                       {object.place->to.get(), object.name}, OptionsOf(object.Path()));
  if (!same.ok()) return run_.tally.Failed(run_.Copy(object.Path()), same.status());
  if (!*same && run_.plan.overwrite && !run_.plan.dry_run) return Copy(object);
  if (!*same && !run_.plan.overwrite)
    return run_.tally.Conflict(run_.Copy(object.Path()), "in contents");
  run_.tally.Count(*same ? &TreeCopyCounts::there : &TreeCopyCounts::files);
  run_.tally.Count(*same ? &TreeCopyCounts::there_bytes : &TreeCopyCounts::bytes,
                   static_cast<uint64_t>(object.st.st_size));
}

void FileCopy::Copy(const CopyObject& object) {
  for (int attempt = 1; !run_.tally.stopped(); ++attempt) {
    bool of_source = false;
    const Status status = OrNoMemory([&] {
      return MakeWholeFile({object.place->from.get(), object.name}, object.st,
                           {object.place->to.get(), object.name},
                           OptionsOf(object.Path()), &of_source);
    });
    // Somebody lost a right to the file, and all have to open it again.
    if (status.sys_errno() == ESTALE && attempt < kMostAttempts) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    if (status.sys_errno() == EEXIST)
      return run_.tally.Conflict(run_.Copy(object.Path()),
                                 "somebody made it meanwhile");
    if (!status.ok())
      return run_.tally.Failed(
          of_source ? run_.Source(object.Path()) : run_.Copy(object.Path()), status);
    run_.tally.Count(&TreeCopyCounts::files);
    return run_.tally.Count(&TreeCopyCounts::bytes,
                            static_cast<uint64_t>(object.st.st_size));
  }
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
  options.lost = run_.LostOf(path);
  return options;
}

}  // namespace keyfold
