#include "fs/cli/CopyTally.h"

#include <algorithm>
#include <cerrno>
#include <thread>

namespace keyfold {
namespace {

// EndsAll: the next object would fail the same way.
bool EndsAll(const Status& why) {
  switch (why.sys_errno()) {
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case ENOMEM:
    case ENOTCONN:
    case ECONNABORTED:
      return true;
    default:
      return false;
  }
}

}  // namespace

TreeCopyCounts CopyTally::Counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void CopyTally::Count(uint64_t TreeCopyCounts::*which, uint64_t by) {
  const std::lock_guard lock(mutex_);
  counts_.*which += by;
}

void CopyTally::Failed(const std::string& path, const Status& why) {
  if (why.sys_errno() == ECANCELED) return;
  const std::lock_guard lock(mutex_);
  if (EndsAll(why)) {
    if (!failure_.ok()) return;  // told once
    failure_ = why;
    stopped_ = true;
  }
  ++counts_.failed;
  listener_.failed(path, why);
}

void CopyTally::Conflict(const std::string& path, const std::string& difference) {
  const std::lock_guard lock(mutex_);
  ++counts_.conflicts;
  listener_.failed(path,
                   Status::Told(Error::kSystem, EEXIST,
                                "it is there already, and differs: " + difference));
}

void CopyTally::LeftOut(const std::string& path, const std::string& why) {
  const std::lock_guard lock(mutex_);
  ++counts_.left_out;
  listener_.left_out(path, why);
}

void CopyTally::Lost(const std::string& path, const std::string& what,
                     const Status& why) {
  const std::lock_guard lock(mutex_);
  listener_.lost(path, what, why);
}

Status CopyTally::Spend(uint64_t bytes) {
  double pause = 0;
  {
    const std::lock_guard lock(mutex_);
    spent_ += bytes;
    counts_.passed = spent_;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_)
            .count();
    pause = limit_.Pause(spent_, seconds);
  }
  // A large pause would make stopping wait.
  while (pause > 0 && !stopped_) {
    const double part = std::min(pause, 0.2);
    std::this_thread::sleep_for(std::chrono::duration<double>(part));
    pause -= part;
  }
  return stopped_ ? Status::FromErrno(ECANCELED, "copy") : OkStatus();
}

Status CopyTally::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace keyfold
