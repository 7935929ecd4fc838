#include <errno.h>

#include <algorithm>
#include <cstring>

#include "fs/vault/File.h"

namespace keyfold {
namespace {

Status Damaged(std::string what) { return Status(Error::kCorrupt, std::move(what)); }

// One buffer of the thread, so that nothing is allocated for each request.
MutableBytes Scratch(size_t size) {
  thread_local std::unique_ptr<uint8_t[]> buffer;
  thread_local size_t capacity = 0;
  if (capacity < size) {
    buffer = std::make_unique_for_overwrite<uint8_t[]>(size);
    capacity = size;
  }
  return MutableBytes(buffer.get(), size);
}

Status DoesNotOpen(uint64_t block) {
  return Damaged("block " + std::to_string(block) + " does not authenticate");
}

}  // namespace

const Aead& File::ContentKey(uint32_t epoch) {
  std::lock_guard lock(epochs_mutex_);
  auto& key = epochs_[epoch];
  if (key == nullptr) {
    const bool former = header_.former && epoch < header_.former->end_epoch;
    key = std::make_unique<Aead>(
        Hkdf(former ? former_dek_ : dek_, {}, ContentKeyInfo(epoch)));
  }
  return *key;
}

// TakeSeals counts seals that the bound on disk allows for; false if it does not.
bool File::TakeSeals(uint64_t count) {
  if (seals_used_.fetch_add(count) + count <= header_.seals_in_epoch) return true;
  seals_used_ -= count;
  return false;
}

// ReserveSeals keeps the bound on disk ahead of the seals made, so that a killed
// daemon has never made more than the header says.
Status File::ReserveSeals(uint64_t count) {
  if (TakeSeals(count)) return OkStatus();
  const uint32_t epoch = header_.key_epoch;
  const uint64_t reserved = header_.seals_in_epoch;
  uint64_t used = seals_used_;
  if (used + count + kSealReserve > kMaxSealsPerEpoch) {
    if (epoch >= kMaxKeyEpoch) return Status::FromErrno(EFBIG, "write");
    ++header_.key_epoch;
    used = 0;
  }
  header_.seals_in_epoch = used + count + kSealReserve;
  dirty_ = true;
  const Status written = WriteHeaderLocked();
  if (!written.ok()) {
    header_.key_epoch = epoch;
    header_.seals_in_epoch = reserved;
    return written;
  }
  seals_used_ = used + count;
  return OkStatus();
}

// IsCurrent keeps made-up epochs from filling the memory with keys. A header that a
// power failure kept from the disk may be one epoch behind.
bool File::IsCurrent(const Seal& seal) const {
  return !seal.IsAbsent() && *seal.epoch <= header_.key_epoch + 1;
}

// OpenBlock returns which seal of the entry opened the block. Zeros that were replaced
// come back only if asked for, where a write may not have ended: a hole's seal opens
// whatever the data is.
std::optional<size_t> File::OpenBlock(const BlockEntry& entry, BlockNo block,
                                      ByteView cipher, MutableBytes plain,
                                      bool replaced_holes) {
  for (size_t i = 0; i < entry.seals.size(); ++i) {
    const Seal& seal = entry.seals[i];
    if (!IsCurrent(seal)) continue;
    if (i > 0 && seal.hole && !replaced_holes) continue;
    const auto aad = BlockAad(header_.file_id, block, seal.hole);
    const Aead& key = ContentKey(*seal.epoch);
    if (seal.hole) {
      if (!key.Open(seal.nonce, aad, {}, seal.tag, {})) continue;
      std::fill(plain.begin(), plain.end(), uint8_t{0});
      return i;
    }
    if (cipher.size() == plain.size() &&
        key.Open(seal.nonce, aad, cipher, seal.tag, plain))
      return i;
  }
  return std::nullopt;
}

void File::SealBlock(BlockNo block, ByteView nonce, ByteView plain, bool hole,
                     MutableBytes cipher, Seal* seal) {
  *seal = Seal{};
  std::copy(nonce.begin(), nonce.end(), seal->nonce.begin());
  seal->hole = hole;
  seal->epoch = header_.key_epoch;
  ContentKey(header_.key_epoch)
      .Seal(seal->nonce, BlockAad(header_.file_id, block, hole), plain, cipher,
            seal->tag);
}

Status File::ReadBlock(BlockNo block, MutableBytes plain) {
  if (const Staging::Block* staged = staging_.Find(block)) {
    if (!OpenBlock({{staged->seal, {}}}, block, staged->cipher, plain, false))
      return DoesNotOpen(block.value);
    return OkStatus();
  }
  std::array<uint8_t, kEntrySize> raw{};
  std::array<uint8_t, kBlockSize> cipher;
  KF_ASSIGN_OR_RETURN(size_t n, data_->ReadAt(EntryOffset(block).value, raw));
  if (n != raw.size()) return Damaged("a block's entry is missing");
  KF_ASSIGN_OR_RETURN(n, data_->ReadAt(DataOffset(block).value,
                                       MutableBytes(cipher).first(plain.size())));
  if (!OpenBlock(BlockEntry::Parse(raw), block, ByteView(cipher).first(n), plain,
                 torn_))
    return DoesNotOpen(block.value);
  return OkStatus();
}

Status File::ReadBlocks(BlockNo first, MutableBytes out) {
  uint64_t block = first.value;
  while (!out.empty()) {
    // A run of groups that are all holes, or all not.
    const bool hole = header_.holes.Contains(GroupOf(BlockNo(block)));
    uint64_t end = block;
    do {
      end = LastBlockOf(GroupOf(BlockNo(end))).value + 1;
    } while ((end - block) * kBlockSize < out.size() &&
             header_.holes.Contains(GroupOf(BlockNo(end))) == hole);
    const MutableBytes part =
        out.first(std::min<uint64_t>(out.size(), (end - block) * kBlockSize));
    if (hole)
      std::fill(part.begin(), part.end(), uint8_t{0});
    else
      KF_RETURN_IF_ERROR(ReadRun(BlockNo(block), part));
    out = out.subspan(part.size());
    block = end;
  }
  return OkStatus();
}

// ReadRun reads blocks of groups that are no holes. Entry pages lie between the
// groups' data, so one read fetches both; only a run that begins inside a group
// needs another for that group's entries.
Status File::ReadRun(BlockNo first, MutableBytes out) {
  const GroupNo group = GroupOf(first);
  const uint64_t count = BlocksOf(out.size());
  const BlockNo last(first.value + count - 1);
  const size_t tail = out.size() - (count - 1) * kBlockSize;
  const bool whole = first == FirstBlockOf(group);
  const uint64_t begin = whole ? EntryOffset(first).value : DataOffset(first).value;
  const size_t size = DataOffset(last).value + tail - begin;
  const size_t apart =
      whole ? 0
            : std::min(count, LastBlockOf(group).value + 1 - first.value) * kEntrySize;
  const MutableBytes scratch = Scratch(apart + size);
  const MutableBytes entries = scratch.first(apart), disk = scratch.subspan(apart);
  const auto raw_entry = [&](uint64_t i) {
    return (i + 1) * kEntrySize <= apart
               ? entries.subspan(i * kEntrySize, kEntrySize)
               : disk.subspan(EntryOffset(BlockNo(first.value + i)).value - begin,
                              kEntrySize);
  };
  const auto cipher = [&](uint64_t i) {
    return disk.subspan(DataOffset(BlockNo(first.value + i)).value - begin,
                        i + 1 == count ? tail : kBlockSize);
  };
  const auto read = [&]() -> Result<bool> {
    const GroupStripes::Shared stripes(stripes_, group, GroupOf(last));
    KF_ASSIGN_OR_RETURN(
        const bool present,
        data_->ReadBoth({EntryOffset(first).value, entries}, {begin, disk}));
    if (staging_.empty() || !present) return present;
    for (uint64_t i = 0; i < count; ++i) {
      const Staging::Block* staged = staging_.Find(BlockNo(first.value + i));
      if (staged == nullptr) continue;
      BlockEntry{{staged->seal, {}}}.Serialize(raw_entry(i));
      if (staged->cipher.size() == cipher(i).size())
        std::copy(staged->cipher.begin(), staged->cipher.end(), cipher(i).begin());
    }
    return true;
  };
  KF_ASSIGN_OR_RETURN(const bool present, read());
  if (!present) return Damaged("data or its entries are missing");
  for (uint64_t i = 0; i < count; ++i) {
    const BlockNo block(first.value + i);
    const size_t bytes = i + 1 == count ? tail : kBlockSize;
    if (!OpenBlock(BlockEntry::Parse(raw_entry(i)), block, cipher(i),
                   out.subspan(i * kBlockSize, bytes), torn_))
      return DoesNotOpen(block.value);
  }
  return OkStatus();
}

// StoreNewGroups stores blocks behind the end of the file, beginning at a
// group's first: with nothing there to keep, entries and data are one write.
Status File::StoreNewGroups(BlockNo first, ByteView plain) {
  const uint64_t count = BlocksOf(plain.size());
  const BlockNo last(first.value + count - 1);
  const size_t tail = plain.size() - (count - 1) * kBlockSize;
  const uint64_t begin = EntryOffset(first).value;
  KF_RETURN_IF_ERROR(ReserveSeals(count));
  const MutableBytes disk = Scratch(DataOffset(last).value + tail - begin);
  const Bytes nonces = RandomBytes(count * kSealNonceSize);
  for (uint64_t i = 0; i < count; ++i) {
    const BlockNo block(first.value + i);
    const MutableBytes raw = disk.subspan(EntryOffset(block).value - begin, kEntrySize);
    const size_t bytes = i + 1 == count ? tail : kBlockSize;
    if (block == FirstBlockOf(GroupOf(block))) {
      const MutableBytes page = disk.subspan(
          EntryOffset(block).value - begin, BlocksInGroup(GroupOf(block)) * kEntrySize);
      std::fill(page.begin(), page.end(), uint8_t{0});
    }
    BlockEntry entry;
    SealBlock(block, ByteView(nonces).subspan(i * kSealNonceSize, kSealNonceSize),
              plain.subspan(i * kBlockSize, bytes), false,
              disk.subspan(DataOffset(block).value - begin, bytes), &entry.seals[0]);
    entry.Serialize(raw);
  }
  return data_->WriteAt(begin, disk);
}

// IsStable tells whether what the block holds may have to survive power loss.
bool File::IsStable(BlockNo block) const {
  return block.value < BlocksOf(stable_length_);
}

// StageBlocks seals `count` blocks of one group that replace others.
Status File::StageBlocks(BlockNo first, ByteView plain, bool hole, uint64_t count) {
  const Bytes nonces = RandomBytes(count * kSealNonceSize);
  for (uint64_t i = 0; i < count; ++i) {
    const BlockNo block(first.value + i);
    const size_t at = i * kBlockSize;
    const ByteView part =
        hole ? ByteView()
             : plain.subspan(at, std::min<size_t>(kBlockSize, plain.size() - at));
    Staging::Block staged;
    staged.cipher.resize(part.size());
    SealBlock(block, ByteView(nonces).subspan(i * kSealNonceSize, kSealNonceSize), part,
              hole, staged.cipher, &staged.seal);
    staging_.Put(block, std::move(staged));
  }
  return OkStatus();
}

// StoreBlocks seals `count` blocks of one group and stores their entries, the
// new seal first and the one it replaces second, then the data; or stages them.
Status File::StoreBlocks(BlockNo first, ByteView plain, bool hole, uint64_t count) {
  const uint64_t old_blocks = BlocksOf(header_.length);
  const bool fresh =
      first.value >= old_blocks || header_.holes.Contains(GroupOf(first));
  if (!fresh && IsStable(first)) {
    const uint64_t staged = std::min(count, BlocksOf(stable_length_) - first.value);
    const size_t size = hole ? 0 : std::min<size_t>(plain.size(), staged * kBlockSize);
    if (!hole) KF_RETURN_IF_ERROR(ReserveHoles(first, staged));
    KF_RETURN_IF_ERROR(ReserveSeals(staged));
    // The file's last block may grow.
    const BlockNo last(first.value + staged - 1);
    const size_t grown = size - std::min<size_t>(size, (staged - 1) * kBlockSize);
    if (grown > BlockBytes(last, header_.length))
      KF_RETURN_IF_ERROR(data_->Truncate(DataOffset(last).value + grown));
    KF_RETURN_IF_ERROR(StageBlocks(first, plain.first(size), hole, staged));
    if (staged == count) return OkStatus();
    return StoreBlocks(BlockNo(first.value + staged), plain.subspan(size), hole,
                       count - staged);
  }
  if (!fresh && !header_.torn) {
    // Until the data is written, entries hold seals of two states.
    header_.torn = true;
    dirty_ = true;
    const Status flagged = WriteHeaderLocked();
    if (!flagged.ok()) {
      header_.torn = false;
      return flagged;
    }
  }
  KF_RETURN_IF_ERROR(ReserveSeals(count));
  return SealAndStore(first, plain, hole, count, fresh);
}

// SealAndStore does so once the header says that blocks may be torn. Blocks that are
// not `fresh` have entries already.
Status File::SealAndStore(BlockNo first, ByteView plain, bool hole, uint64_t count,
                          bool fresh) {
  const uint64_t old_blocks = BlocksOf(header_.length);
  Bytes entries(count * kEntrySize);
  if (!fresh) {
    KF_RETURN_IF_ERROR(data_->ReadAt(EntryOffset(first).value, entries).status());
    bool changed = false;
    if (torn_) KF_RETURN_IF_ERROR(SettleEntries(first, entries, &changed));
  }
  const MutableBytes cipher = Scratch(plain.size());
  const Bytes nonces = RandomBytes(count * kSealNonceSize);
  for (uint64_t i = 0; i < count; ++i) {
    const BlockNo block(first.value + i);
    const MutableBytes raw = MutableBytes(entries).subspan(i * kEntrySize, kEntrySize);
    BlockEntry entry = BlockEntry::Parse(raw);
    // A seal of a block behind the end belongs to data that was cut off.
    entry.seals[1] = block.value < old_blocks && !fresh ? entry.seals[0] : Seal{};
    const size_t at = i * kBlockSize;
    const size_t bytes = hole ? 0 : std::min<size_t>(kBlockSize, plain.size() - at);
    const ByteView nonce = ByteView(nonces).subspan(i * kSealNonceSize, kSealNonceSize);
    SealBlock(block, nonce, hole ? ByteView() : plain.subspan(at, bytes), hole,
              hole ? MutableBytes() : cipher.subspan(at, bytes), &entry.seals[0]);
    entry.Serialize(raw);
  }
  Status stored = data_->WriteAt(EntryOffset(first).value, entries);
  if (stored.ok() && !hole) stored = data_->WriteAt(DataOffset(first).value, cipher);
  if (!stored.ok() && !fresh) torn_ = true;
  return stored;
}

// TryLengths returns at which length, from `least` up to all of the cipher, one of the
// seals is that of the block's data. Seals do not tell, so each is tried, which takes
// milliseconds.
std::optional<File::Sealed> File::TryLengths(const BlockEntry& entry, BlockNo block,
                                             ByteView cipher, uint64_t least) {
  std::array<uint8_t, kBlockSize> plain;
  std::optional<Sealed> found;
  for (uint64_t size = std::max(least, uint64_t{1}); !found && size <= cipher.size();
       ++size)
    if (const auto seal = OpenBlock(entry, block, cipher.first(size),
                                    MutableBytes(plain).first(size), false))
      found = Sealed{*seal, size};
  explicit_bzero(plain.data(), plain.size());
  return found;
}

// FindSeal returns which seal is that of the block's data, of which the file holds
// `bytes` now. Zeros that were replaced count last, when no length is that of the data.
std::optional<size_t> File::FindSeal(const BlockEntry& entry, BlockNo block,
                                     ByteView cipher, uint64_t bytes) {
  std::array<uint8_t, kBlockSize> plain;
  const MutableBytes out = MutableBytes(plain).first(bytes);
  const ByteView now = cipher.first(std::min<size_t>(cipher.size(), bytes));
  std::optional<size_t> seal = OpenBlock(entry, block, now, out, false);
  // The file may have ended elsewhere in it when it was stored.
  if (!seal && block.value >= header_.synced_length / kBlockSize)
    if (const auto sealed = TryLengths(entry, block, cipher, 1)) seal = sealed->seal;
  if (!seal) seal = OpenBlock(entry, block, now, out, true);
  explicit_bzero(plain.data(), plain.size());
  return seal;
}

// SettleEntries puts the seal that opens each block's data first.
Status File::SettleEntries(BlockNo first, MutableBytes entries, bool* changed) {
  std::array<uint8_t, kBlockSize> cipher;
  for (size_t i = 0; i < entries.size() / kEntrySize; ++i) {
    const BlockNo block(first.value + i);
    const MutableBytes raw = entries.subspan(i * kEntrySize, kEntrySize);
    BlockEntry entry = BlockEntry::Parse(raw);
    const size_t bytes = BlockBytes(block, header_.length);
    if (entry.seals[1].IsAbsent() || bytes == 0) continue;
    KF_ASSIGN_OR_RETURN(const size_t n, data_->ReadAt(DataOffset(block).value, cipher));
    // A block that neither opens stays as it is: reading it must fail.
    if (FindSeal(entry, block, ByteView(cipher).first(n), bytes) != 1) continue;
    std::swap(entry.seals[0], entry.seals[1]);
    entry.Serialize(raw);
    *changed = true;
  }
  return OkStatus();
}

// SettleFile does so for the whole file, after which no block is torn.
Status File::SettleFile() {
  const uint64_t blocks = BlocksOf(header_.length);
  bool settled = false;
  for (uint64_t block = 0; block < blocks;) {
    const GroupNo group = GroupOf(BlockNo(block));
    const uint64_t end = std::min(LastBlockOf(group).value + 1, blocks);
    if (!header_.holes.Contains(group)) {
      Bytes entries((end - block) * kEntrySize);
      const uint64_t at = EntryOffset(BlockNo(block)).value;
      KF_RETURN_IF_ERROR(data_->ReadAt(at, entries).status());
      bool changed = false;
      KF_RETURN_IF_ERROR(SettleEntries(BlockNo(block), entries, &changed));
      if (changed) KF_RETURN_IF_ERROR(data_->WriteAt(at, entries));
      settled |= changed;
    }
    block = end;
  }
  if (settled) KF_RETURN_IF_ERROR(SyncDisk(true));
  torn_ = header_.torn = false;
  dirty_ = true;
  return OkStatus();
}

}  // namespace keyfold
