#include "fs/format/HoleList.h"

#include <algorithm>

namespace keyfold {
namespace {

// The first range that ends behind `group`: the only one that can hold it.
template <typename Ranges>
auto FirstEndingAfter(Ranges& ranges, uint64_t group) {
  return std::partition_point(
      ranges.begin(), ranges.end(),
      [group](const HoleRange& range) { return range.end() <= group; });
}

Status ListFull() { return Status(Error::kLimitExceeded, "the hole list is full"); }

}  // namespace

Result<HoleList> HoleList::FromRanges(std::vector<HoleRange> ranges, uint64_t length) {
  const Status corrupt(Error::kCorrupt, "hole list is not valid");
  if (ranges.size() > kMaxHoles || length > kMaxFileSize) return corrupt;
  const uint64_t groups = GroupsOf(length);
  uint64_t previous_end = 0;  // Also keeps group 0 out: first must exceed it.
  for (const HoleRange& range : ranges) {
    if (range.count == 0 || range.first.value <= previous_end) return corrupt;
    if (range.first.value >= groups || range.count > groups - range.first.value)
      return corrupt;
    previous_end = range.end();
  }
  HoleList list;
  list.ranges_ = std::move(ranges);
  return list;
}

bool HoleList::Contains(GroupNo group) const {
  auto it = FirstEndingAfter(ranges_, group.value);
  return it != ranges_.end() && it->first <= group;
}

Status HoleList::Add(HoleRange range) {
  if (range.count == 0) return OkStatus();
  if (range.first.value == 0 || range.first.value >= kMaxGroups ||
      range.count > kMaxGroups - range.first.value)
    return Status(Error::kValidation, "not a range of groups that can be a hole");
  // [begin, end) are the ranges that overlap or touch the new one.
  auto begin = FirstEndingAfter(ranges_, range.first.value - 1);
  auto end = begin;
  uint64_t first = range.first.value, stop = range.end();
  while (end != ranges_.end() && end->first.value <= stop) {
    first = std::min(first, end->first.value);
    stop = std::max(stop, end->end());
    ++end;
  }
  const HoleRange merged{GroupNo(first), stop - first};
  if (begin == end) {
    if (full()) return ListFull();
    ranges_.insert(begin, merged);
    return OkStatus();
  }
  *begin = merged;
  ranges_.erase(begin + 1, end);
  return OkStatus();
}

Status HoleList::Remove(GroupNo group) {
  auto it = FirstEndingAfter(ranges_, group.value);
  if (it == ranges_.end() || it->first > group) return OkStatus();
  const HoleRange left{it->first, group.value - it->first.value};
  const HoleRange right{GroupNo(group.value + 1), it->end() - group.value - 1};
  if (left.count != 0 && right.count != 0) {
    if (full()) return ListFull();
    *it = left;
    ranges_.insert(it + 1, right);
  } else if (left.count == 0 && right.count == 0) {
    ranges_.erase(it);
  } else {
    *it = left.count != 0 ? left : right;
  }
  return OkStatus();
}

void HoleList::TruncateTo(uint64_t length) {
  const uint64_t groups = GroupsOf(length);
  while (!ranges_.empty() && ranges_.back().first.value >= groups) ranges_.pop_back();
  if (ranges_.empty()) return;
  HoleRange& last = ranges_.back();
  last.count = std::min(last.count, groups - last.first.value);
}

std::optional<HoleRange> HoleList::SmallestRange() const {
  auto it = std::min_element(
      ranges_.begin(), ranges_.end(),
      [](const HoleRange& a, const HoleRange& b) { return a.count < b.count; });
  if (it == ranges_.end()) return std::nullopt;
  return *it;
}

bool HoleList::RemoveRange(HoleRange range) {
  auto it = std::find(ranges_.begin(), ranges_.end(), range);
  if (it == ranges_.end()) return false;
  ranges_.erase(it);
  return true;
}

bool HoleList::FitsLength(uint64_t length) const {
  return ranges_.empty() || ranges_.back().end() <= GroupsOf(length);
}

}  // namespace keyfold
