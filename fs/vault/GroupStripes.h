// GroupStripes: locks of a file's groups of blocks, a few for all of them, so that
// blocks of one group can be replaced while others are read and replaced.
//
// A thread holds one exclusively or any shared, and takes no other while it does.
#pragma once

#include <array>
#include <mutex>
#include <shared_mutex>

#include "fs/format/Geometry.h"
#include "fs/vault/SharedMutex.h"

namespace keyfold {

class GroupStripes {
 public:
  static constexpr size_t kStripes = 8;
  static constexpr size_t IndexOf(GroupNo group) { return group.value % kStripes; }

  std::unique_lock<SharedMutex> Exclusive(GroupNo group) {
    return std::unique_lock(stripes_[IndexOf(group)]);
  }
  std::unique_lock<SharedMutex> TryExclusive(GroupNo group) {
    return std::unique_lock(stripes_[IndexOf(group)], std::try_to_lock);
  }

  // Shared holds the stripes of all groups from `first` to `last` for as long as it
  // lives.
  class Shared {
   public:
    Shared(GroupStripes& of, GroupNo first, GroupNo last) {
      // In the order of stripes, whatever that of the groups.
      for (size_t i = 0; i < kStripes; ++i) {
        const uint64_t away = (i + kStripes - first.value % kStripes) % kStripes;
        if (away <= last.value - first.value)
          locks_[i] = std::shared_lock(of.stripes_[i]);
      }
    }

   private:
    std::array<std::shared_lock<SharedMutex>, kStripes> locks_;
  };

 private:
  std::array<SharedMutex, kStripes> stripes_;
};

}  // namespace keyfold
