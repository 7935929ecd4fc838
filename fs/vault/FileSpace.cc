#include <errno.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "fs/vault/File.h"

namespace keyfold {
// ReserveBlocks takes the space of the blocks and entries of a range.
Status File::ReserveBlocks(uint64_t offset, uint64_t end) {
  const BlockNo first = BlockOf(PlainOffset(offset));
  const uint64_t page = EntryPageOffset(GroupOf(first)).value;
  KF_RETURN_IF_ERROR(data_->Reserve(page, kPageSize));
  const uint64_t begin = DataOffset(first).value;
  return data_->Reserve(begin, BackingSize(end) - begin);
}

// ReserveHoles takes space for blocks of one group that are holes, before what is to
// take their place is staged: who writes it is to be told that the disk is full, not
// who stores it later.
Status File::ReserveHoles(BlockNo first, uint64_t count) {
  std::array<uint8_t, kGroupBlocks * kEntrySize> page;
  const MutableBytes entries = MutableBytes(page).first(count * kEntrySize);
  KF_ASSIGN_OR_RETURN(const size_t n, data_->ReadAt(EntryOffset(first).value, entries));
  for (uint64_t i = 0; i < n / kEntrySize; ++i) {
    if (!BlockEntry::Parse(entries.subspan(i * kEntrySize, kEntrySize)).seals[0].hole)
      continue;
    const uint64_t at = DataOffset(BlockNo(first.value + i)).value;
    if (const Status reserved = data_->Reserve(at, kBlockSize);
        !reserved.ok() && reserved.sys_errno() != EOPNOTSUPP)
      return reserved;
  }
  return OkStatus();
}

Status File::Reserve(uint64_t offset, uint64_t size, bool keep_size) {
  std::scoped_lock locks(flush_mutex_, mutex_);
  if (!unlocked_) return Gone();
  if (offset > kMaxFileSize || size > kMaxFileSize - offset)
    return Status::FromErrno(EFBIG, "fallocate");
  const uint64_t end = offset + size;
  KF_RETURN_IF_ERROR(FinishShrink());
  const Status reserved = ReserveBlocks(offset, end);
  if (!reserved.ok()) {
    // What was got of it behind the end is not to fill the disk for nothing.
    (void)data_->Truncate(BackingSize(header_.length));
    return reserved;
  }
  if (keep_size || end <= header_.length) return OkStatus();
  return Grow([&] { return Extend(end); });
}

Status File::ZeroPart(BlockNo block, uint64_t from, uint64_t to) {
  if (from >= to || header_.holes.Contains(GroupOf(block))) return OkStatus();
  KF_ASSIGN_OR_RETURN(const bool hole, IsHole(block));
  if (hole) return OkStatus();
  std::array<uint8_t, kBlockSize> plain;
  const MutableBytes held =
      MutableBytes(plain).first(BlockBytes(block, header_.length));
  KF_RETURN_IF_ERROR(ReadBlock(block, held));
  std::fill(plain.begin() + static_cast<ptrdiff_t>(from),
            plain.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(to, held.size())),
            uint8_t{0});
  const Status written = WriteBlocks(block, held, header_.length);
  explicit_bzero(plain.data(), plain.size());
  return written;
}

// ZeroBlocks gives each block a hole seal of its own, and tells which space of
// the backing file means nothing after that.
Status File::ZeroBlocks(BlockNo first, uint64_t end, std::vector<Span>* unused) {
  for (uint64_t block = first.value; block < end;) {
    const GroupNo group = GroupOf(BlockNo(block));
    const uint64_t stop = std::min(LastBlockOf(group).value + 1, end);
    if (!header_.holes.Contains(group)) {
      KF_RETURN_IF_ERROR(StoreBlocks(BlockNo(block), {}, true, stop - block));
      dirty_ = true;
    }
    const uint64_t begin = DataOffset(BlockNo(block)).value;
    unused->push_back({begin, begin + (stop - block) * kBlockSize});
    block = stop;
  }
  return OkStatus();
}

// ZeroGroups does so by the header's list of holes. If that is full, it is the
// smaller range that gets seals of its own: this one or one of the list.
Status File::ZeroGroups(HoleRange range, std::vector<Span>* unused) {
  if (range.count == 0) return OkStatus();
  Status added = header_.holes.Add(range);
  if (added.error() == Error::kLimitExceeded) {
    const auto smallest = header_.holes.SmallestRange();
    if (!smallest || smallest->count >= range.count || !MakeRoomForHole().ok()) {
      const uint64_t end = std::min(BlocksOf(header_.length),
                                    LastBlockOf(GroupNo(range.end() - 1)).value + 1);
      return ZeroBlocks(FirstBlockOf(range.first), end, unused);
    }
    added = header_.holes.Add(range);
  }
  KF_RETURN_IF_ERROR(added);
  dirty_ = true;
  unused->push_back({EntryPageOffset(range.first).value,
                     EntryPageOffset(GroupNo(range.end())).value});
  return OkStatus();
}

Status File::Zero(uint64_t offset, uint64_t size, bool release) {
  std::scoped_lock locks(flush_mutex_, mutex_);
  if (!unlocked_) return Gone();
  if (offset >= header_.length) return OkStatus();
  HoleList before = header_.holes;
  std::vector<Span> unused;
  const Status zeroed =
      OrNoMemory([&] { return ZeroRange(offset, size, release, &unused); });
  if (!zeroed.ok()) {
    // What is a hole in memory only would be written over as if nothing were there.
    header_.holes = std::move(before);
    unsynced_fill_ = dirty_ = true;
    return zeroed;
  }
  if (!release) return OkStatus();
  for (const Span& span : unused)
    // Contents do not depend on whether the backing store gives space back.
    if (const Status status = data_->Release(span.begin, span.end - span.begin);
        !status.ok() && status.sys_errno() != EOPNOTSUPP)
      return status;
  return OkStatus();
}

// ZeroRange does so up to the point where the space may be given back.
Status File::ZeroRange(uint64_t offset, uint64_t size, bool release,
                       std::vector<Span>* unused) {
  const uint64_t end = offset + std::min(size, header_.length - offset);
  const BlockNo first = BlockOf(PlainOffset(offset));
  const uint64_t blocks = BlocksOf(header_.length);
  // What is zeroed whole; the file's last block is, whatever it holds of it.
  const uint64_t begin = BlocksOf(offset);
  const uint64_t stop = end == header_.length ? blocks : end / kBlockSize;
  if (begin > first.value) {
    const uint64_t at = first.value * kBlockSize;
    KF_RETURN_IF_ERROR(ZeroPart(first, offset - at, std::min(end - at, kBlockSize)));
  }
  if (stop >= begin && end > stop * kBlockSize && stop < blocks)
    KF_RETURN_IF_ERROR(ZeroPart(BlockNo(stop), 0, end - stop * kBlockSize));
  if (begin >= stop) return OkStatus();
  // Group 0 never is a hole of the list, nor a group of which some is kept.
  uint64_t whole = GroupOf(BlockNo(begin)).value;
  if (whole == 0 || FirstBlockOf(GroupNo(whole)).value != begin) ++whole;
  uint64_t whole_end = GroupOf(BlockNo(stop - 1)).value;
  if (stop == blocks || LastBlockOf(GroupNo(whole_end)).value + 1 == stop) ++whole_end;
  if (whole >= whole_end) {
    KF_RETURN_IF_ERROR(ZeroBlocks(BlockNo(begin), stop, unused));
  } else {
    const BlockNo after(whole_end == GroupsOf(header_.length)
                            ? stop
                            : FirstBlockOf(GroupNo(whole_end)).value);
    KF_RETURN_IF_ERROR(
        ZeroBlocks(BlockNo(begin), FirstBlockOf(GroupNo(whole)).value, unused));
    KF_RETURN_IF_ERROR(ZeroBlocks(after, stop, unused));
    KF_RETURN_IF_ERROR(ZeroGroups({GroupNo(whole), whole_end - whole}, unused));
  }
  // What writes there next, and what takes the data away, believes that these are
  // holes on disk too.
  dirty_ = true;
  KF_RETURN_IF_ERROR(WriteSettledHeader());
  if (!release && !IsStable(first)) return OkStatus();
  KF_RETURN_IF_ERROR(StoreStaged(nullptr));
  KF_RETURN_IF_ERROR(SyncDisk(true));
  unsynced_data_ = false;
  return OkStatus();
}

// IsHole tells whether a block of a group that is no hole has a hole seal that
// authenticates; a block that has none is data, or an error to read.
Result<bool> File::IsHole(BlockNo block) {
  bool hole = false;
  KF_ASSIGN_OR_RETURN(const uint64_t end, RunEnd(block, &hole));
  (void)end;
  return hole;
}

// RunEnd returns where, within the group, the blocks end that are like the first.
Result<uint64_t> File::RunEnd(BlockNo first, bool* hole) {
  const uint64_t end =
      std::min(LastBlockOf(GroupOf(first)).value + 1, BlocksOf(header_.length));
  std::array<uint8_t, kGroupBlocks * kEntrySize> page;
  const MutableBytes entries =
      MutableBytes(page).first((end - first.value) * kEntrySize);
  const GroupStripes::Shared stripe(stripes_, GroupOf(first), GroupOf(first));
  KF_ASSIGN_OR_RETURN(const size_t n, data_->ReadAt(EntryOffset(first).value, entries));
  if (n != entries.size()) return Status(Error::kCorrupt, "block entries are missing");
  for (uint64_t block = first.value; block < end; ++block) {
    const Staging::Block* staged = staging_.Find(BlockNo(block));
    const Seal seal =
        staged != nullptr
            ? staged->seal
            : BlockEntry::Parse(
                  entries.subspan((block - first.value) * kEntrySize, kEntrySize))
                  .seals[0];
    const bool is_hole =
        IsCurrent(seal) && seal.hole &&
        ContentKey(*seal.epoch)
            .Open(seal.nonce, BlockAad(header_.file_id, BlockNo(block), true), {},
                  seal.tag, {});
    if (block == first.value) *hole = is_hole;
    if (is_hole != *hole) return block;
  }
  return end;
}

Result<uint64_t> File::Seek(uint64_t offset, Seeking what) {
  for (;;) {
    KF_ASSIGN_OR_RETURN(const std::optional<uint64_t> found, SeekSome(&offset, what));
    if (found) return *found;
  }
}

// SeekSome looks at some groups and moves `offset` on, so that a long search keeps
// nobody from the file.
Result<std::optional<uint64_t>> File::SeekSome(uint64_t* from, Seeking what) {
  constexpr int kGroupsAtOnce = 256;
  std::shared_lock lock(mutex_);
  if (!unlocked_) return Gone();
  const uint64_t offset = *from;
  int looked = 0;
  const Status none = Status::FromErrno(ENXIO, "seek");
  if (offset >= header_.length) return none;
  const auto& holes = header_.holes.ranges();
  for (uint64_t block = BlockOf(PlainOffset(offset)).value;
       block < BlocksOf(header_.length);) {
    const GroupNo group = GroupOf(BlockNo(block));
    bool hole = header_.holes.Contains(group);
    uint64_t end = 0;
    if (hole) {
      const auto range = std::find_if(
          holes.begin(), holes.end(),
          [&](const HoleRange& candidate) { return candidate.end() > group.value; });
      end = LastBlockOf(GroupNo(range->end() - 1)).value + 1;
    } else {
      KF_ASSIGN_OR_RETURN(end, RunEnd(BlockNo(block), &hole));
    }
    if (hole == (what == Seeking::kHole))
      return std::optional(std::max(offset, block * kBlockSize));
    block = end;
    if (++looked < kGroupsAtOnce) continue;
    *from = block * kBlockSize;
    if (*from < header_.length) return std::optional<uint64_t>();
  }
  if (what == Seeking::kHole) return std::optional(header_.length);
  return none;
}

}  // namespace keyfold
