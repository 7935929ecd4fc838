// Geometry: where each block of a regular file and its entry lie in the backing
// file. Pure arithmetic (FORMAT.md, "Regular files"); every function is
// constexpr and safe to call from any thread.
//
// Backing file = header page (two slots, the 32 entries of group 0), the 32 data
// blocks of group 0, then for each further group an entry page of 64 entries
// and 64 data blocks. Arguments beyond kMaxFileSize are violated invariants and
// abort; numbers read from disk are checked first (Header.h).
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <cstdlib>

namespace keyfold {

// Quantity is an unsigned number of one kind, so that a block is not passed
// for a group or a plaintext offset for a backing one.
template <typename Tag>
struct Quantity {
  uint64_t value = 0;
  constexpr Quantity() = default;
  constexpr explicit Quantity(uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Quantity&) const = default;
};

using BlockNo = Quantity<struct BlockNoTag>;
using GroupNo = Quantity<struct GroupNoTag>;
using PlainOffset = Quantity<struct PlainOffsetTag>;    // bytes, as users see
using CipherOffset = Quantity<struct CipherOffsetTag>;  // bytes in the backing file

inline constexpr uint64_t kBlockSize = 4096;
inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kHeaderSlotSize = 1024;
inline constexpr uint64_t kHeaderSlots = 2;
inline constexpr uint64_t kEntrySize = 64;
inline constexpr uint64_t kFirstEntryOffset = kHeaderSlots * kHeaderSlotSize;  // 2048
inline constexpr uint64_t kFirstGroupBlocks =
    (kPageSize - kFirstEntryOffset) / kEntrySize;                 // 32
inline constexpr uint64_t kGroupBlocks = kPageSize / kEntrySize;  // 64
// Backing bytes of group 0 with the header page, and of each group after it.
inline constexpr uint64_t kFirstGroupSpan = kPageSize + kFirstGroupBlocks * kBlockSize;
inline constexpr uint64_t kGroupSpan = kPageSize + kGroupBlocks * kBlockSize;
// Plaintext bytes of group 0 and of each group after it.
inline constexpr uint64_t kFirstGroupPlain = kFirstGroupBlocks * kBlockSize;  // 128 KiB
inline constexpr uint64_t kGroupPlain = kGroupBlocks * kBlockSize;            // 256 KiB

static_assert(kFirstGroupBlocks == 32 && kGroupBlocks == 64);

// PlainSize is the largest plaintext length whose backing size is at most
// `backing_size`: the exact inverse of BackingSize for the sizes it yields, the
// floor for those that end inside an entry page; 0 below a header page.
constexpr uint64_t PlainSize(uint64_t backing_size) {
  if (backing_size <= kPageSize) return 0;
  if (backing_size <= kFirstGroupSpan) return backing_size - kPageSize;
  const uint64_t rest = backing_size - kFirstGroupSpan;
  const uint64_t in_group = rest % kGroupSpan;
  return kFirstGroupPlain + rest / kGroupSpan * kGroupPlain +
         (in_group > kPageSize ? in_group - kPageSize : 0);
}

// kMaxFileSize is the longest plaintext, a whole number of blocks, whose
// backing file still has offsets that fit off_t.
inline constexpr uint64_t kMaxFileSize =
    PlainSize(static_cast<uint64_t>(INT64_MAX)) / kBlockSize * kBlockSize;
inline constexpr uint64_t kMaxBlocks = kMaxFileSize / kBlockSize;

// BlocksOf is the number of blocks that hold `length` bytes.
constexpr uint64_t BlocksOf(uint64_t length) {
  return length / kBlockSize + (length % kBlockSize != 0 ? 1 : 0);
}

constexpr BlockNo BlockOf(PlainOffset offset) {
  return BlockNo(offset.value / kBlockSize);
}

// BlockBytes is how many bytes of a file of `length` bytes lie in `block`:
// 4096, less in the last block, 0 behind it.
constexpr uint64_t BlockBytes(BlockNo block, uint64_t length) {
  if (block.value >= BlocksOf(length)) return 0;
  return std::min(kBlockSize, length - block.value * kBlockSize);
}

constexpr GroupNo GroupOf(BlockNo block) {
  if (block.value < kFirstGroupBlocks) return GroupNo(0);
  return GroupNo(1 + (block.value - kFirstGroupBlocks) / kGroupBlocks);
}

// GroupsOf is the number of groups that hold `length` bytes; 0 for an empty
// file, though its header page carries group 0's entries.
constexpr uint64_t GroupsOf(uint64_t length) {
  return length == 0 ? 0 : GroupOf(BlockNo(BlocksOf(length) - 1)).value + 1;
}

inline constexpr uint64_t kMaxGroups = GroupsOf(kMaxFileSize);

constexpr uint64_t BlocksInGroup(GroupNo group) {
  return group.value == 0 ? kFirstGroupBlocks : kGroupBlocks;
}

constexpr BlockNo FirstBlockOf(GroupNo group) {
  if (group.value > kMaxGroups) std::abort();
  if (group.value == 0) return BlockNo(0);
  return BlockNo(kFirstGroupBlocks + (group.value - 1) * kGroupBlocks);
}

// LastBlockOf is the last block of a full group.
constexpr BlockNo LastBlockOf(GroupNo group) {
  return BlockNo(FirstBlockOf(group).value + BlocksInGroup(group) - 1);
}

// EntryPageOffset is where the page with the group's entries begins: for group
// 0 the header page itself.
constexpr CipherOffset EntryPageOffset(GroupNo group) {
  if (group.value > kMaxGroups) std::abort();
  if (group.value == 0) return CipherOffset(0);
  return CipherOffset(kFirstGroupSpan + (group.value - 1) * kGroupSpan);
}

// EntryInPage is the offset of the block's entry within its entry page.
constexpr uint64_t EntryInPage(BlockNo block) {
  const GroupNo group = GroupOf(block);
  const uint64_t index = block.value - FirstBlockOf(group).value;
  return (group.value == 0 ? kFirstEntryOffset : 0) + index * kEntrySize;
}

constexpr CipherOffset EntryOffset(BlockNo block) {
  return CipherOffset(EntryPageOffset(GroupOf(block)).value + EntryInPage(block));
}

constexpr CipherOffset DataOffset(BlockNo block) {
  const GroupNo group = GroupOf(block);
  const uint64_t index = block.value - FirstBlockOf(group).value;
  return CipherOffset(EntryPageOffset(group).value + kPageSize + index * kBlockSize);
}

// BackingSize is the size of the backing file of `length` plaintext bytes.
constexpr uint64_t BackingSize(uint64_t length) {
  if (length > kMaxFileSize) std::abort();
  if (length == 0) return kPageSize;
  const BlockNo last(BlocksOf(length) - 1);
  return DataOffset(last).value + BlockBytes(last, length);
}

// IsBackingSize tells whether some plaintext length has exactly this size.
constexpr bool IsBackingSize(uint64_t backing_size) {
  const uint64_t length = PlainSize(backing_size);
  return length <= kMaxFileSize && BackingSize(length) == backing_size;
}

static_assert(BackingSize(0) == 4096 && BackingSize(1) == 4097);
static_assert(BackingSize(kMaxFileSize) <= static_cast<uint64_t>(INT64_MAX));

}  // namespace keyfold
