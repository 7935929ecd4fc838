// HoleList: the ranges of groups that a file's header declares to be holes.
//
// A group in the list reads as zeros whatever the backing file holds. Always
// canonical: sorted, disjoint, non-adjacent, non-empty ranges, never group 0,
// at most kMaxHoles of them. Not synchronised.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fs/format/Geometry.h"
#include "kms/base/Status.h"

namespace keyfold {

inline constexpr size_t kMaxHoles = 24;

struct HoleRange {
  GroupNo first;
  uint64_t count = 0;

  uint64_t end() const { return first.value + count; }
  bool operator==(const HoleRange&) const = default;
};

class HoleList {
 public:
  HoleList() = default;
  // FromRanges accepts exactly the canonical lists that fit a file of `length`
  // bytes; kCorrupt else.
  static Result<HoleList> FromRanges(std::vector<HoleRange> ranges, uint64_t length);

  bool Contains(GroupNo group) const;
  // Add declares the groups of `range` holes, merging with what it touches.
  // kLimitExceeded, and no change, when the list would grow too long (see
  // SmallestRange); kValidation for a range with group 0 or past kMaxGroups.
  // An empty range changes nothing.
  Status Add(HoleRange range);
  // Remove takes one group out, splitting its range; no effect on a group that
  // is not in the list. kLimitExceeded, and no change, when the split does not
  // fit.
  Status Remove(GroupNo group);
  // TruncateTo forgets the groups behind a file of `length` bytes. A hole group
  // that `length` cuts stays.
  void TruncateTo(uint64_t length);

  // SmallestRange is the range a caller fills at least cost (seals its blocks
  // as holes one by one, then removes it) to make room; none when empty.
  std::optional<HoleRange> SmallestRange() const;
  // RemoveRange takes out a whole range of the list, as SmallestRange returned
  // it; false when the list has no such range.
  bool RemoveRange(HoleRange range);

  bool full() const { return ranges_.size() == kMaxHoles; }
  bool empty() const { return ranges_.empty(); }
  const std::vector<HoleRange>& ranges() const { return ranges_; }
  // FitsLength tells whether no hole reaches behind a file of `length` bytes.
  bool FitsLength(uint64_t length) const;
  bool operator==(const HoleList&) const = default;

 private:
  std::vector<HoleRange> ranges_;
};

}  // namespace keyfold
