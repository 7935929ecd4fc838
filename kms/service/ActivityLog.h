// ActivityLog: when keys were last used for files, and grants at all.
//
// To the hour, which is enough to tell what nobody uses. Must not know: where it is
// kept. Thread-safe: mutex_ guards everything.
#pragma once

#include <mutex>
#include <set>
#include <string_view>

#include "kms/service/State.h"

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
  // Forget drops what was noted of keys and grants that are not there any more.
  void Forget(const State& state) {
    std::set<std::string_view> grants;
    for (const auto& [key_id, index] : state.grants)
      for (const GrantRef& grant : index->all()) grants.insert(grant->grant.id);
    std::lock_guard lock(mutex_);
    const size_t gone =
        std::erase_if(
            known_.files,
            [&](const auto& one) { return !state.keys.contains(one.first); }) +
        std::erase_if(known_.grants,
                      [&](const auto& one) { return !grants.contains(one.first); });
    if (gone > 0) changed_ = true;
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
