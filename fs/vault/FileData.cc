#include <errno.h>

#include <algorithm>
#include <cstring>

#include "fs/vault/File.h"

namespace keyfold {
Result<size_t> File::Read(uint64_t offset, MutableBytes out) {
  std::shared_lock lock(mutex_);
  if (!unlocked_) return Gone();
  if (offset >= header_.length) return size_t{0};
  const size_t size = std::min<uint64_t>(out.size(), header_.length - offset);
  const uint64_t skip = offset % kBlockSize;
  const BlockNo first = BlockOf(PlainOffset(offset));
  const uint64_t end = std::min(header_.length, BlocksOf(offset + size) * kBlockSize);
  const uint64_t whole = end - first.value * kBlockSize;
  if (skip == 0 && whole <= out.size()) {
    KF_RETURN_IF_ERROR(ReadBlocks(first, out.first(whole)));
    return size;
  }
  Bytes plain(whole);
  const Status status = ReadBlocks(first, plain);
  if (status.ok()) std::memcpy(out.data(), plain.data() + skip, size);
  explicit_bzero(plain.data(), plain.size());
  KF_RETURN_IF_ERROR(status);
  return size;
}

// EndsInData tells whether a file of `length` ends inside a block that is sealed at its
// length. Zeros need not be: others might find no room on a full disk.
Result<bool> File::EndsInData(uint64_t length) {
  const BlockNo last = BlockOf(PlainOffset(length));
  if (length % kBlockSize == 0 || header_.holes.Contains(GroupOf(last))) return false;
  KF_ASSIGN_OR_RETURN(const bool hole, IsHole(last));
  return !hole;
}

Status File::CutExcess(uint64_t disk_length) {
  const BlockNo last = BlockOf(PlainOffset(header_.length));
  const uint64_t keep = header_.length % kBlockSize;
  KF_ASSIGN_OR_RETURN(const bool reseal, EndsInData(header_.length));
  if (reseal && disk_length > header_.length) {
    std::array<uint8_t, kBlockSize> plain{};
    // The last block may be sealed at any length that the file had meanwhile.
    std::optional<uint64_t> sealed;
    if (staging_.Find(last) == nullptr) {
      KF_ASSIGN_OR_RETURN(sealed,
                          SealedLength(last, keep, BlockBytes(last, disk_length)));
    }
    KF_RETURN_IF_ERROR(
        ReadBlock(last, MutableBytes(plain).first(sealed.value_or(keep))));
    KF_RETURN_IF_ERROR(WriteBlocks(last, ByteView(plain).first(keep), header_.length));
    KF_RETURN_IF_ERROR(SyncStaged(nullptr));
  }
  return data_->Truncate(BackingSize(header_.length));
}

// KeepKnown leaves the file as long as it is known to be after a write that failed
// half-way (a full disk, no memory), and CutUnknown cuts what was stored behind.
void File::KeepKnown() {
  (void)OrNoMemory([&] {
    header_.holes.TruncateTo(header_.length);
    dirty_ = true;
    // The last block may be staged longer than it is.
    const BlockNo last = BlockOf(PlainOffset(header_.length));
    const uint64_t keep = header_.length % kBlockSize;
    const Staging::Block* staged = staging_.Find(last);
    if (staged == nullptr || staged->cipher.size() <= keep) return OkStatus();
    std::array<uint8_t, kBlockSize> plain;
    KF_RETURN_IF_ERROR(
        ReadBlock(last, MutableBytes(plain).first(staged->cipher.size())));
    KF_RETURN_IF_ERROR(ReserveSeals(1));
    return StageBlocks(last, ByteView(plain).first(keep), false, 1);
  });
}

void File::CutUnknown() {
  (void)OrNoMemory([&] {
    KF_RETURN_IF_ERROR(FinishShrink());
    KF_ASSIGN_OR_RETURN(const DataFile::Info info, data_->Stat());
    if (info.size <= BackingSize(header_.length)) return OkStatus();
    return CutExcess(PlainSize(info.size));
  });
}

// FillGroup gives every block of a hole group, up to the end of the file, a
// hole seal of its own, and takes the group from the list.
Status File::FillGroup(GroupNo group) {
  KF_RETURN_IF_ERROR(FillRange({group, 1}));
  dirty_ = true;
  const Status removed = header_.holes.Remove(group);
  if (removed.error() != Error::kLimitExceeded) return removed;
  KF_RETURN_IF_ERROR(MakeRoomForHole());
  return header_.holes.Remove(group);
}

Status File::FillRange(HoleRange range) {
  for (uint64_t g = range.first.value; g < range.end(); ++g) {
    const uint64_t first = FirstBlockOf(GroupNo(g)).value;
    const uint64_t end =
        std::min(LastBlockOf(GroupNo(g)).value + 1, BlocksOf(header_.length));
    if (end > first)
      KF_RETURN_IF_ERROR(StoreBlocks(BlockNo(first), {}, true, end - first));
  }
  // Last, as storing them may write the header, which syncs what was noted before.
  unsynced_fill_ |= FirstBlockOf(range.first).value < BlocksOf(stable_length_);
  return OkStatus();
}

Status File::MakeRoomForHole() {
  constexpr uint64_t kMaxFill = 1 << 12;  // groups: a hole of 1 GiB, 16 MiB of entries
  const auto smallest = header_.holes.SmallestRange();
  if (!smallest) return OkStatus();
  if (smallest->count > kMaxFill) return Status::FromErrno(EFBIG, "too many holes");
  KF_RETURN_IF_ERROR(FillRange(*smallest));
  (void)header_.holes.RemoveRange(*smallest);
  dirty_ = true;
  return OkStatus();
}

Status File::AddHole(HoleRange range) {
  const Status added = header_.holes.Add(range);
  if (added.error() != Error::kLimitExceeded) return added;
  KF_RETURN_IF_ERROR(MakeRoomForHole());
  return header_.holes.Add(range);
}

// WriteBlocks stores whole blocks (the last one may be the end of the file of
// `new_length`) beginning at `first`, which is not behind the end.
Status File::WriteBlocks(BlockNo first, ByteView plain, uint64_t new_length) {
  uint64_t block = first.value;
  while (!plain.empty()) {
    const GroupNo group = GroupOf(BlockNo(block));
    const bool fresh = block >= BlocksOf(header_.length);
    if (fresh && BlockNo(block) == FirstBlockOf(group)) {
      KF_RETURN_IF_ERROR(StoreNewGroups(BlockNo(block), plain));
      break;
    }
    const uint64_t end = LastBlockOf(group).value + 1;
    const size_t bytes = std::min<uint64_t>(plain.size(), (end - block) * kBlockSize);
    const bool whole =
        BlockNo(block) == FirstBlockOf(group) &&
        block * kBlockSize + bytes >= std::min(new_length, end * kBlockSize);
    HoleList without = header_.holes;
    if (whole && without.Contains(group) && without.Remove(group).ok()) {
      // Zeros until the list no longer names it: there is nothing to keep.
      KF_RETURN_IF_ERROR(StoreNewGroups(BlockNo(block), plain.first(bytes)));
      unsynced_fill_ |= IsStable(BlockNo(block));
      header_.holes = std::move(without);
      dirty_ = true;
    } else {
      if (header_.holes.Contains(group)) KF_RETURN_IF_ERROR(FillGroup(group));
      KF_RETURN_IF_ERROR(
          StoreBlocks(BlockNo(block), plain.first(bytes), false, BlocksOf(bytes)));
    }
    plain = plain.subspan(bytes);
    block = end;
    const uint64_t reached = std::min(new_length, end * kBlockSize);
    if (!plain.empty() && reached > header_.length) {
      header_.length = reached;
      dirty_ = true;
    }
  }
  if (new_length > header_.length) header_.length = new_length;
  dirty_ = true;
  return OkStatus();
}

// Extend makes the file longer without data: what is added is a hole.
Status File::Extend(uint64_t length) {
  const uint64_t old = header_.length;
  const BlockNo last = BlockOf(PlainOffset(old));
  KF_ASSIGN_OR_RETURN(const bool reseal, EndsInData(old));
  if (reseal) {
    const uint64_t grown = BlockBytes(last, length);
    std::array<uint8_t, kBlockSize> plain{};
    KF_RETURN_IF_ERROR(ReadBlock(last, MutableBytes(plain).first(old % kBlockSize)));
    KF_RETURN_IF_ERROR(WriteBlocks(last, ByteView(plain).first(grown),
                                   last.value * kBlockSize + grown));
  }
  uint64_t block = BlocksOf(header_.length);
  const uint64_t blocks = BlocksOf(length);
  if (block < blocks) {
    GroupNo group = GroupOf(BlockNo(block));
    if (!header_.holes.Contains(group) &&
        (group.value == 0 || block != FirstBlockOf(group).value)) {
      const uint64_t end = std::min(LastBlockOf(group).value + 1, blocks);
      KF_RETURN_IF_ERROR(StoreBlocks(BlockNo(block), {}, true, end - block));
      block = end;
    }
    if (block < blocks) {
      group = GroupOf(BlockNo(block));
      const GroupNo end_group(GroupsOf(length));
      if (header_.holes.Contains(group)) group = GroupNo(group.value + 1);
      if (group < end_group) {
        KF_RETURN_IF_ERROR(AddHole({group, end_group.value - group.value}));
      }
    }
  }
  KF_RETURN_IF_ERROR(data_->Truncate(BackingSize(length)));
  header_.length = length;
  dirty_ = true;
  return OkStatus();
}

// Replace is the write of whole blocks, within one group, that are there already: it
// changes nothing but their entries and data, so others may be at work on the file.
// Empty if this is no such write, or the header has to be written first.
std::optional<Status> File::Replace(uint64_t offset, ByteView data) {
  std::shared_lock lock(mutex_);
  const BlockNo first = BlockOf(PlainOffset(offset));
  const uint64_t count = BlocksOf(data.size());
  const GroupNo group = GroupOf(first);
  if (!unlocked_ || data.empty() || offset % kBlockSize != 0 ||
      data.size() % kBlockSize != 0 || offset > header_.length ||
      data.size() > header_.length - offset ||
      GroupOf(BlockNo(first.value + count - 1)) != group ||
      header_.holes.Contains(group))
    return std::nullopt;
  const bool stable = IsStable(BlockNo(first.value + count - 1));
  if (stable) {
    if (const Status reserved = ReserveHoles(first, count); !reserved.ok())
      return reserved;
    if (!TakeSeals(count)) return std::nullopt;
    const auto stripe = stripes_.Exclusive(group);
    return StageBlocks(first, data, false, count);
  }
  if (IsStable(first) || !header_.torn) return std::nullopt;
  // So that the entries come from the disk before anybody has to wait for the group.
  std::array<uint8_t, kEntrySize> entry;
  (void)data_->ReadAt(EntryOffset(first).value, entry);
  const auto stripe = stripes_.Exclusive(group);
  // Entries of what is torn are put right first, which reads data.
  if (torn_ || !TakeSeals(count)) return std::nullopt;
  dirty_ = true;
  return SealAndStore(first, data, false, count, false);
}

Status File::Write(uint64_t offset, ByteView data) {
  // Of all files together; who goes beyond stores what its own file has staged.
  constexpr size_t kMostStaged = 64 << 20;
  const auto make_room = [&] {
    return Staging::InAll() > kMostStaged && !staging_.empty() ? Flush() : OkStatus();
  };
  // What cannot be stored is not to become more.
  KF_RETURN_IF_ERROR(make_room());
  Status written = WriteOnce(offset, data);
  const bool again = written.sys_errno() == EAGAIN;
  if (again) {
    std::scoped_lock locks(flush_mutex_, mutex_);
    written = OrNoMemory([&] { return FinishShrink(); });
    if (!written.ok()) return written;
  }
  if (again) written = WriteOnce(offset, data);
  if (!written.ok()) {
    std::scoped_lock locks(flush_mutex_, mutex_);
    if (unlocked_) CutUnknown();
    return written;
  }
  return make_room();
}

Status File::WriteOnce(uint64_t offset, ByteView data) {
  if (const auto replaced = Replace(offset, data)) return *replaced;
  std::unique_lock lock(mutex_);
  if (!unlocked_) return Gone();
  if (data.empty()) return OkStatus();
  if (offset > kMaxFileSize || data.size() > kMaxFileSize - offset)
    return Status::FromErrno(EFBIG, "write");
  const Status written = OrNoMemory([&] { return WriteRange(offset, data); });
  if (!written.ok()) KeepKnown();
  return written;
}

// WriteRange writes what may begin behind the end, and begin and end inside a block.
Status File::WriteRange(uint64_t offset, ByteView data) {
  if (offset + data.size() > header_.length && stable_length_ > header_.length)
    return Status::FromErrno(EAGAIN, "write");  // after FinishShrink
  if (offset > header_.length) KF_RETURN_IF_ERROR(Extend(offset));
  const uint64_t end = offset + data.size();
  const uint64_t new_length = std::max(end, header_.length);
  const BlockNo first = BlockOf(PlainOffset(offset));
  const uint64_t start = first.value * kBlockSize;
  const uint64_t stop = std::min(new_length, BlocksOf(end) * kBlockSize);
  if (offset == start && end == stop) return WriteBlocks(first, data, new_length);
  // Blocks written in part are completed with what they held.
  Bytes whole(stop - start);
  auto fill = [&](BlockNo block) -> Status {
    const uint64_t held = BlockBytes(block, header_.length);
    if (held == 0) return OkStatus();
    const uint64_t at = block.value * kBlockSize - start;
    return ReadBlocks(block, MutableBytes(whole).subspan(at, held));
  };
  Status status = offset != start ? fill(first) : OkStatus();
  const BlockNo last = BlockOf(PlainOffset(end - 1));
  if (status.ok() && end != stop && (last != first || offset == start))
    status = fill(last);
  if (status.ok()) {
    std::memcpy(whole.data() + (offset - start), data.data(), data.size());
    status = WriteBlocks(first, whole, new_length);
  }
  explicit_bzero(whole.data(), whole.size());
  return status;
}

Status File::Truncate(uint64_t length) {
  std::scoped_lock locks(flush_mutex_, mutex_);
  if (!unlocked_) return Gone();
  if (length > kMaxFileSize) return Status::FromErrno(EFBIG, "truncate");
  KF_RETURN_IF_ERROR(FinishShrink());
  if (length == header_.length) return OkStatus();
  if (length > header_.length) return Grow([&] { return Extend(length); });
  return Shrink(length);
}

// Grow runs what makes the file longer, or leaves it as it is.
Status File::Grow(const std::function<Status()>& grow) {
  const Status grown = OrNoMemory(grow);
  if (!grown.ok()) {
    KeepKnown();
    CutUnknown();
  }
  return grown;
}

Status File::Shrink(uint64_t length) {
  const BlockNo last = BlockOf(PlainOffset(length));
  const uint64_t keep = length % kBlockSize;
  KF_ASSIGN_OR_RETURN(const bool reseal, EndsInData(length));
  std::array<uint8_t, kBlockSize> plain{};
  if (reseal)
    KF_RETURN_IF_ERROR(
        ReadBlock(last, MutableBytes(plain).first(BlockBytes(last, header_.length))));
  // The header goes first: it says what is cut before anything is.
  const HeaderSlot before = header_;
  header_.length = length;
  header_.synced_length = std::min(header_.synced_length, length);
  header_.holes.TruncateTo(length);
  dirty_ = true;
  Status cut = WriteHeaderLocked();
  bool is_cut = cut.ok();
  if (is_cut && reseal) {
    cut = OrNoMemory(
        [&] { return WriteBlocks(last, ByteView(plain).first(keep), length); });
    // The write failed; if the shorter block is stored all the same, it counts.
    is_cut = cut.ok() || ReadBlock(last, MutableBytes(plain).first(keep)).ok();
  }
  explicit_bzero(plain.data(), plain.size());
  if (!is_cut) {
    header_.length = before.length;
    header_.synced_length = before.synced_length;
    header_.holes = before.holes;
    dirty_ = true;
    return cut;
  }
  marked_length_ = std::min(marked_length_, length);
  // What is cut off need not be stored any more.
  staging_.Drop(BlockNo(BlocksOf(length)), UINT64_MAX);
  KF_RETURN_IF_ERROR(cut);
  // What survives power loss must not lose its end before that, too, is durable.
  if (IsStable(last)) {
    unsynced_data_ = true;  // the header
    KF_RETURN_IF_ERROR(SyncStaged(nullptr));
  }
  stable_length_ = std::min<uint64_t>(stable_length_, length);
  if (length == 0) {
    torn_ = overwriting_ = false;
    if (header_.torn) dirty_ = true;
  }
  return data_->Truncate(BackingSize(length));
}

// FinishShrink is for when Shrink failed after the header: what it was to cut may be
// there again after a power failure, so that it must not be written over or cut before.
// Callers hold flush_mutex_, too.
Status File::FinishShrink() {
  if (stable_length_ <= header_.length) return OkStatus();
  dirty_ = true;
  KF_RETURN_IF_ERROR(WriteHeaderLocked());
  unsynced_data_ = true;  // the header
  KF_RETURN_IF_ERROR(SyncStaged(nullptr));
  stable_length_ = header_.length;
  return data_->Truncate(BackingSize(header_.length));
}

}  // namespace keyfold
