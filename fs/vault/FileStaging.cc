#include <algorithm>
#include <cstring>

#include "fs/vault/Errno.h"
#include "fs/vault/File.h"

namespace keyfold {
namespace {

// Calls `each` with every run of blocks in one group that follow each other.
template <typename Each>
Status ForEachRun(const Staging::Blocks& blocks, const Each& each) {
  for (auto it = blocks.begin(); it != blocks.end();) {
    const uint64_t group_end = LastBlockOf(GroupOf(BlockNo(it->first))).value + 1;
    auto end = it;
    uint64_t next = it->first;
    for (; end != blocks.end() && end->first == next && next < group_end; ++end) ++next;
    KF_RETURN_IF_ERROR(each(it, next - it->first));
    it = end;
  }
  return OkStatus();
}

}  // namespace

// StoreEntries stores the entries of blocks whose data is still the former.
Status File::StoreEntries(const Staging::Blocks& blocks) {
  return ForEachRun(blocks, [&](Staging::Blocks::const_iterator it, uint64_t count) {
    const BlockNo first(it->first);
    Bytes entries(count * kEntrySize);
    KF_RETURN_IF_ERROR(data_->ReadAt(EntryOffset(first).value, entries).status());
    bool changed = false;
    if (torn_) KF_RETURN_IF_ERROR(SettleEntries(first, entries, &changed));
    for (uint64_t i = 0; i < count; ++i, ++it) {
      const MutableBytes raw =
          MutableBytes(entries).subspan(i * kEntrySize, kEntrySize);
      BlockEntry entry = BlockEntry::Parse(raw);
      // Tried before and failed half-way: what it replaces stands second already.
      if (entry.seals[0] != it->second.seal) entry.seals[1] = entry.seals[0];
      entry.seals[0] = it->second.seal;
      entry.Serialize(raw);
    }
    return data_->WriteAt(EntryOffset(first).value, entries);
  });
}

Status File::StoreData(const Staging::Blocks& blocks) {
  Bytes run;
  return ForEachRun(blocks, [&](Staging::Blocks::const_iterator it, uint64_t count) {
    run.clear();
    uint64_t begin = DataOffset(BlockNo(it->first)).value;
    const auto store = [&] {
      const Status stored = run.empty() ? OkStatus() : data_->WriteAt(begin, run);
      run.clear();
      return stored;
    };
    for (uint64_t i = 0; i < count; ++i, ++it) {
      const Bytes& cipher = it->second.cipher;
      if (run.empty()) begin = DataOffset(BlockNo(it->first)).value;
      run.insert(run.end(), cipher.begin(), cipher.end());
      // Holes have no data.
      if (cipher.empty()) KF_RETURN_IF_ERROR(store());
    }
    return store();
  });
}

// SyncDisk remembers a failure, as the kernel tells of it once, to whoever syncs first.
Status File::SyncDisk(bool data_only) {
  const Status synced = data_->Sync(data_only);
  if (!synced.ok()) lost_errno_ = ErrnoOf(synced);
  return synced;
}

Status File::SyncApart(Lock* lock) {
  if (lock == nullptr) return SyncDisk(true);
  lock->unlock();
  const Status synced = SyncDisk(true);
  lock->lock();
  if (!synced.ok()) return synced;
  return unlocked_ ? OkStatus() : Gone();
}

// StoreStaged goes in steps, so that a power failure between any two of them leaves
// each block as it was or as it will be: what is replaced and the header's flag become
// durable; then the entries, with the replaced seals second; then the data is stored.
Status File::StoreStaged(Lock* lock) {
  if (staging_.empty()) return OkStatus();
  const Staging::Blocks& blocks = staging_.Take();
  overwriting_ = true;
  // When it was written is told by the kernel, or was by the write itself.
  KF_ASSIGN_OR_RETURN(const DataFile::Info before, data_->Stat());
  if (!header_.torn) {
    header_.torn = true;
    flag_synced_ = false;
  }
  // The flag may lie only in memory, be it that the header was written by others, or
  // that a sync of it failed.
  if (!flag_synced_) {
    dirty_ = true;
    KF_RETURN_IF_ERROR(WriteHeaderLocked());
  }
  const bool replaces_synced =
      blocks.empty() || blocks.rbegin()->first < BlocksOf(header_.synced_length);
  if (unsynced_data_ || !flag_synced_ || !replaces_synced) {
    KF_RETURN_IF_ERROR(SyncApart(lock));
    flag_synced_ = true;
    unsynced_data_ = false;
  }
  Status stored = StoreEntries(blocks);
  if (stored.ok()) stored = SyncApart(lock);
  if (stored.ok()) {
    unsynced_data_ = true;
    stored = StoreData(blocks);
  }
  if (!stored.ok()) {
    // They wait on; until they are stored, entries hold seals of two states.
    torn_ = true;
    return stored;
  }
  staging_.Stored();
  return data_->SetTimes(before.accessed, before.modified);
}

// SyncStaged stores what waits, for good.
Status File::SyncStaged(Lock* lock) {
  KF_RETURN_IF_ERROR(StoreStaged(lock));
  if (!unsynced_data_) return OkStatus();
  KF_RETURN_IF_ERROR(SyncApart(lock));
  unsynced_data_ = false;
  return OkStatus();
}

// RaiseStable lets what is there be replaced by staging only, as it is about to be
// synced.
void File::RaiseStable(uint64_t length) {
  stable_length_ = std::max(stable_length_.load(), length);
}

void File::ConfirmSynced(uint64_t length) {
  header_.synced_length =
      std::max(header_.synced_length, std::min(length, header_.length));
}

Status File::Flush() {
  std::lock_guard flushing(flush_mutex_);
  Lock lock(mutex_);
  if (!unlocked_) return OkStatus();
  KF_RETURN_IF_ERROR(StoreStaged(&lock));
  return WriteSettledHeader();
}

Status File::Settle() {
  std::lock_guard flushing(flush_mutex_);
  Lock lock(mutex_);
  if (!unlocked_) return OkStatus();
  KF_RETURN_IF_ERROR(SyncStaged(&lock));
  if (overwriting_ && staging_.empty()) {
    overwriting_ = false;
    quiet_ = true;
  }
  return WriteSettledHeader();
}

Status File::Sync(bool data_only) {
  const Status synced = SyncContents(data_only);
  const int lost = lost_errno_.exchange(0);
  return synced.ok() && lost != 0 ? Status::FromErrno(lost, "fsync") : synced;
}

Status File::SyncContents(bool data_only) {
  std::lock_guard flushing(flush_mutex_);
  Lock lock(mutex_);
  uint64_t reached = 0;
  if (unlocked_) {
    reached = header_.length;
    RaiseStable(reached);
    KF_RETURN_IF_ERROR(StoreStaged(&lock));
    KF_RETURN_IF_ERROR(WriteSettledHeader());
  }
  lock.unlock();
  KF_RETURN_IF_ERROR(SyncDisk(data_only));
  lock.lock();
  unsynced_data_ = false;
  const uint64_t known = header_.synced_length;
  ConfirmSynced(reached);
  quiet_ |= header_.synced_length != known;
  return OkStatus();
}

Status File::Hold(const std::function<Status()>& action) {
  std::lock_guard flushing(flush_mutex_);
  KF_RETURN_IF_ERROR(WriteHeader());
  return action();
}

Status File::Mark() {
  std::lock_guard flushing(flush_mutex_);
  Lock lock(mutex_);
  if (!unlocked_) return OkStatus();
  const uint64_t reached = header_.length;
  RaiseStable(reached);
  // What cannot be stored, of which the header may tell already, is of the next
  // checkpoint: one file is not to keep all from being closed.
  if (StoreStaged(&lock).ok())
    marked_length_ = std::min(reached, header_.length);
  else
    dirty_ = true;
  return WriteSettledHeader();
}

// That the checkpoint is closed says so on disk.
void File::Confirm() {
  Lock lock(mutex_);
  if (unlocked_) ConfirmSynced(marked_length_);
}

// SealedLength returns how many bytes of the block its data and seals agree on, between
// `least` and `most`; nothing when on none.
Result<std::optional<uint64_t>> File::SealedLength(BlockNo block, uint64_t least,
                                                   uint64_t most) {
  std::array<uint8_t, kEntrySize> raw;
  std::array<uint8_t, kBlockSize> cipher;
  KF_ASSIGN_OR_RETURN(size_t n, data_->ReadAt(EntryOffset(block).value, raw));
  if (n != raw.size()) return std::optional<uint64_t>();
  KF_ASSIGN_OR_RETURN(n, data_->ReadAt(DataOffset(block).value, cipher));
  const auto sealed =
      TryLengths(BlockEntry::Parse(raw), block,
                 ByteView(cipher).first(std::min<uint64_t>(n, most)), least);
  return sealed ? std::optional(sealed->length) : std::nullopt;
}

// FindEnd returns how much of the file there is, when of what was not synced any part
// may be missing: up to the first block that does not authenticate.
Result<uint64_t> File::FindEnd(uint64_t disk_length) {
  torn_ = false;
  const uint64_t synced = header_.synced_length;
  const uint64_t end = std::min(header_.length, disk_length);
  std::array<uint8_t, kBlockSize> plain;
  uint64_t reached = synced;
  for (uint64_t block = synced / kBlockSize; block < BlocksOf(end); ++block) {
    const uint64_t begin = block * kBlockSize;
    const uint64_t bytes = BlockBytes(BlockNo(block), header_.length);
    if (header_.holes.Contains(GroupOf(BlockNo(block)))) {
      block = LastBlockOf(GroupOf(BlockNo(block))).value;
      reached = std::min(end, (block + 1) * kBlockSize);
      continue;
    }
    const Status read = ReadBlock(BlockNo(block), MutableBytes(plain).first(bytes));
    if (read.ok()) {
      reached = begin + bytes;
      continue;
    }
    if (read.error() != Error::kCorrupt) return read;
    // The file may have ended in this block when it was stored, or go on in it.
    const uint64_t least = synced > begin ? synced - begin : 1;
    KF_ASSIGN_OR_RETURN(const auto sealed,
                        SealedLength(BlockNo(block), least, kBlockSize));
    if (sealed) reached = begin + std::min(*sealed, bytes);
    if (sealed) break;
    // Zeros whose place was to be taken, if nothing else is there.
    torn_ = true;
    const bool zeros = ReadBlock(BlockNo(block), MutableBytes(plain).first(bytes)).ok();
    torn_ = false;
    if (!zeros) break;
    reached = begin + bytes;
  }
  explicit_bzero(plain.data(), plain.size());
  return std::max(reached, synced);
}

// Recover makes the file as long as it can be after a power failure.
Status File::Recover(uint64_t disk_length, const Recovering& recovering) {
  KF_ASSIGN_OR_RETURN(const uint64_t end, FindEnd(disk_length));
  if (end < header_.length && recovering) KF_RETURN_IF_ERROR(recovering());
  torn_ = true;  // seals of the end may be in any order
  if (end > disk_length) KF_RETURN_IF_ERROR(data_->Truncate(BackingSize(end)));
  header_.length = end;
  header_.holes.TruncateTo(end);
  // Some of it may have been synced and the header not have told.
  RaiseStable(end);
  dirty_ = true;
  return OkStatus();
}

}  // namespace keyfold
