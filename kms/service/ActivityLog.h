// ActivityLog: when keys were last used for files, and grants at all.
//
// To the hour, which is enough to tell what nobody uses. Must not know: where it is
// kept. Thread-safe: mutex_ guards everything.
#pragma once

#include <mutex>

#include "kms/service/Records.h"

namespace keyfold {

class ActivityLog {
 public:
  explicit ActivityLog(Activity known) : known_(std::move(known)) {}

  void NoteFile(const std::string& key_id, TimePoint now) {
    std::lock_guard lock(mutex_);
    Note(known_.files[key_id], now);
  }
  void NoteGrant(const std::string& grant_id, TimePoint now) {
    std::lock_guard lock(mutex_);
    Note(known_.grants[grant_id], now);
  }
  Activity known() const {
    std::lock_guard lock(mutex_);
    return known_;
  }
  // TakeChanged tells whether there is something new since it was last asked.
  bool TakeChanged() {
    std::lock_guard lock(mutex_);
    return std::exchange(changed_, false);
  }

 private:
  void Note(TimePoint& last, TimePoint now) {
    if (now < last + std::chrono::hours(1)) return;
    last = now;
    changed_ = true;
  }

  mutable std::mutex mutex_;
  Activity known_;
  bool changed_ = false;
};

}  // namespace keyfold
