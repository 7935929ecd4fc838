#include "fs/vault/File.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace keyfold {
namespace {

Status Damaged(std::string what) { return Status(Error::kCorrupt, std::move(what)); }

Status Gone() { return Status::FromErrno(EACCES, "the file's key was taken away"); }

MutableBytes Scratch(size_t size) {
  thread_local Bytes buffer;
  if (buffer.size() < size) buffer.resize(size);
  return MutableBytes(buffer.data(), size);
}

off_t Off(CipherOffset offset) { return static_cast<off_t>(offset.value); }

}  // namespace

Result<std::shared_ptr<File>> File::Create(UniqueFd fd, ino_t ino, HeaderSlot header,
                                           DataKey dek) {
  std::shared_ptr<File> file(new File(std::move(fd), ino));
  file->dek_ = dek.Release();
  file->header_key_ = Hkdf(file->dek_, {}, AsBytes(kHeaderKeyLabel));
  const Bytes commitment = HkdfPublic(file->dek_, {}, AsBytes(kCommitmentLabel));
  std::copy(commitment.begin(), commitment.end(), header.commitment.begin());
  file->header_ = std::move(header);
  file->unlocked_ = true;
  file->dirty_ = true;
  KF_RETURN_IF_ERROR(file->WriteHeader());
  if (::ftruncate(file->fd_.get(), static_cast<off_t>(BackingSize(0))) != 0)
    return Status::FromErrno(errno, "create");
  return file;
}

Result<std::shared_ptr<File>> File::Inspect(UniqueFd fd, ino_t ino) {
  std::shared_ptr<File> file(new File(std::move(fd), ino));
  Bytes raw(kHeaderSlots * kHeaderSlotSize);
  KF_ASSIGN_OR_RETURN(const size_t n, ReadAt(file->fd_.get(), 0, raw));
  if (n != raw.size()) return Damaged("the file is shorter than its header");
  file->raw_header_ = raw;
  Status first = OkStatus();
  for (size_t i = 0; i < kHeaderSlots; ++i) {
    auto slot = ParseHeaderSlot(
        ByteView(raw).subspan(i * kHeaderSlotSize, kHeaderSlotSize));
    if (slot.ok()) {
      file->header_ = std::move(*slot);
      return file;
    }
    if (i == 0) first = slot.status();
  }
  return first;
}

Status File::Unlock(const DataKey& dek) {
  std::unique_lock lock(mutex_);
  if (unlocked_) return OkStatus();
  const Bytes commitment = HkdfPublic(dek.bytes(), {}, AsBytes(kCommitmentLabel));
  if (!ConstantTimeEqual(commitment, header_.commitment))
    return Damaged("the key is not the one the file was committed to");
  SecretBytes header_key = Hkdf(dek.bytes(), {}, AsBytes(kHeaderKeyLabel));
  struct stat st;
  if (::fstat(fd_.get(), &st) != 0) return Status::FromErrno(errno, "stat");
  const uint64_t backing = static_cast<uint64_t>(st.st_size);
  bool found = false;
  for (size_t i = 0; i < kHeaderSlots && !found; ++i) {
    const ByteView raw =
        ByteView(raw_header_).subspan(i * kHeaderSlotSize, kHeaderSlotSize);
    if (!ConstantTimeEqual(HmacSha256(header_key, HeaderMacedBytes(raw)), HeaderMac(raw)))
      continue;
    auto slot = ParseHeaderSlot(raw);
    if (!slot.ok() || slot->file_id != header_.file_id) continue;
    if (BackingSize(slot->length) > backing)
      return Damaged("the file was cut short in the backing store");
    header_ = std::move(*slot);
    found = true;
  }
  if (!found) return Damaged("the file's header does not authenticate");
  dek_ = CopySecret(dek.bytes());
  header_key_ = std::move(header_key);
  unlocked_ = true;
  // A killed daemon may leave more behind the end than the header knows of.
  if (backing > BackingSize(header_.length)) {
    const Status cut = CutExcess(PlainSize(backing));
    if (!cut.ok()) {
      unlocked_ = false;
      return cut;
    }
  }
  return OkStatus();
}

Status File::CutExcess(uint64_t disk_length) {
  const BlockNo last = BlockOf(PlainOffset(header_.length));
  const uint64_t keep = header_.length % kBlockSize;
  if (keep != 0 && !header_.holes.Contains(GroupOf(last)) && disk_length > header_.length) {
    std::array<uint8_t, kBlockSize> plain{};
    // The last block may have been sealed at the longer or the shorter length.
    const uint64_t on_disk = BlockBytes(last, disk_length);
    const Status whole = ReadBlock(last, MutableBytes(plain).first(on_disk));
    if (!whole.ok())
      KF_RETURN_IF_ERROR(ReadBlock(last, MutableBytes(plain).first(keep)));
    KF_RETURN_IF_ERROR(WriteBlocks(last, ByteView(plain).first(keep), header_.length));
  }
  if (::ftruncate(fd_.get(), static_cast<off_t>(BackingSize(header_.length))) != 0)
    return Status::FromErrno(errno, "truncate");
  return OkStatus();
}

bool File::unlocked() const {
  std::shared_lock lock(mutex_);
  return unlocked_;
}

HeaderSlot File::header() const {
  std::shared_lock lock(mutex_);
  return header_;
}

uint64_t File::length() const {
  std::shared_lock lock(mutex_);
  return header_.length;
}

const Aead& File::ContentKey(uint32_t epoch) {
  std::lock_guard lock(epochs_mutex_);
  auto& key = epochs_[epoch];
  if (key == nullptr)
    key = std::make_unique<Aead>(Hkdf(dek_, {}, ContentKeyInfo(epoch)));
  return *key;
}

void File::CountSeals(uint64_t count) {
  header_.seals_in_epoch += count;
  if (header_.seals_in_epoch >= kMaxSealsPerEpoch && header_.key_epoch < kMaxKeyEpoch) {
    ++header_.key_epoch;
    header_.seals_in_epoch = 0;
  }
  dirty_ = true;
}

bool File::OpenBlock(const BlockEntry& entry, BlockNo block, ByteView cipher,
                     MutableBytes plain) {
  for (const Seal& seal : entry.seals) {
    if (seal.IsAbsent()) continue;
    const auto aad = BlockAad(header_.file_id, block, seal.hole);
    const Aead& key = ContentKey(*seal.epoch);
    if (seal.hole) {
      if (!key.Open(seal.nonce, aad, {}, seal.tag, {})) continue;
      std::fill(plain.begin(), plain.end(), uint8_t{0});
      return true;
    }
    if (cipher.size() == plain.size() && key.Open(seal.nonce, aad, cipher, seal.tag, plain))
      return true;
  }
  return false;
}

Status File::ReadBlock(BlockNo block, MutableBytes plain) {
  std::array<uint8_t, kEntrySize> raw{};
  std::array<uint8_t, kBlockSize> cipher;
  KF_ASSIGN_OR_RETURN(size_t n, ReadAt(fd_.get(), Off(EntryOffset(block)), raw));
  if (n != raw.size()) return Damaged("a block's entry is missing");
  KF_ASSIGN_OR_RETURN(n, ReadAt(fd_.get(), Off(DataOffset(block)),
                                MutableBytes(cipher).first(plain.size())));
  if (!OpenBlock(BlockEntry::Parse(raw), block, ByteView(cipher).first(n), plain))
    return Damaged("block " + std::to_string(block.value) + " does not authenticate");
  return OkStatus();
}

Status File::ReadBlocks(BlockNo first, MutableBytes out) {
  uint64_t block = first.value;
  while (!out.empty()) {
    const GroupNo group = GroupOf(BlockNo(block));
    const uint64_t end = LastBlockOf(group).value + 1;
    const size_t bytes = std::min<uint64_t>(out.size(), (end - block) * kBlockSize);
    const uint64_t count = BlocksOf(bytes);
    MutableBytes part = out.first(bytes);
    out = out.subspan(bytes);
    if (header_.holes.Contains(group)) {
      std::fill(part.begin(), part.end(), uint8_t{0});
    } else {
      const MutableBytes scratch = Scratch(count * kEntrySize + bytes);
      const MutableBytes entries = scratch.first(count * kEntrySize);
      const MutableBytes cipher = scratch.subspan(count * kEntrySize);
      KF_ASSIGN_OR_RETURN(size_t n,
                          ReadAt(fd_.get(), Off(EntryOffset(BlockNo(block))), entries));
      if (n != entries.size()) return Damaged("block entries are missing");
      KF_ASSIGN_OR_RETURN(n, ReadAt(fd_.get(), Off(DataOffset(BlockNo(block))), cipher));
      if (n != cipher.size()) return Damaged("data is missing");
      for (uint64_t i = 0; i < count; ++i) {
        const size_t at = i * kBlockSize, size = std::min<size_t>(kBlockSize, bytes - at);
        if (!OpenBlock(BlockEntry::Parse(entries.subspan(i * kEntrySize, kEntrySize)),
                       BlockNo(block + i), cipher.subspan(at, size), part.subspan(at, size)))
          return Damaged("block " + std::to_string(block + i) + " does not authenticate");
      }
    }
    block = end;
  }
  return OkStatus();
}

Result<size_t> File::Read(uint64_t offset, MutableBytes out) {
  std::shared_lock lock(mutex_);
  if (!unlocked_) return Gone();
  if (offset >= header_.length) return size_t{0};
  const size_t size = std::min<uint64_t>(out.size(), header_.length - offset);
  const uint64_t skip = offset % kBlockSize;
  const BlockNo first = BlockOf(PlainOffset(offset));
  const uint64_t end = std::min(header_.length,
                                BlocksOf(offset + size) * kBlockSize);
  const uint64_t whole = end - first.value * kBlockSize;
  if (skip == 0 && whole <= out.size()) {
    KF_RETURN_IF_ERROR(ReadBlocks(first, out.first(whole)));
    return size;
  }
  Bytes plain(whole);
  KF_RETURN_IF_ERROR(ReadBlocks(first, plain));
  std::memcpy(out.data(), plain.data() + skip, size);
  explicit_bzero(plain.data(), plain.size());
  return size;
}

Status File::StoreBlocks(BlockNo first, ByteView plain, bool hole, uint64_t count) {
  const uint64_t old_blocks = BlocksOf(header_.length);
  const bool fresh = first.value >= old_blocks || header_.holes.Contains(GroupOf(first));
  const MutableBytes scratch = Scratch(count * kEntrySize + plain.size());
  const MutableBytes entries = scratch.first(count * kEntrySize);
  const MutableBytes cipher = scratch.subspan(count * kEntrySize);
  std::fill(entries.begin(), entries.end(), uint8_t{0});
  if (!fresh) {
    KF_ASSIGN_OR_RETURN(size_t n, ReadAt(fd_.get(), Off(EntryOffset(first)), entries));
    if (n < entries.size()) std::fill(entries.begin() + static_cast<long>(n), entries.end(), uint8_t{0});
  }
  const uint32_t epoch = header_.key_epoch;
  const Aead& key = ContentKey(epoch);
  Bytes nonces = RandomBytes(count * kSealNonceSize);
  for (uint64_t i = 0; i < count; ++i) {
    const BlockNo block(first.value + i);
    const MutableBytes raw = entries.subspan(i * kEntrySize, kEntrySize);
    BlockEntry entry = BlockEntry::Parse(raw);
    // A seal of a block behind the end belongs to data that was cut off.
    entry.seals[1] = block.value < old_blocks && !fresh ? entry.seals[0] : Seal{};
    Seal& seal = entry.seals[0];
    seal = Seal{};
    std::copy_n(nonces.begin() + static_cast<long>(i * kSealNonceSize), kSealNonceSize,
                seal.nonce.begin());
    seal.hole = hole;
    seal.epoch = epoch;
    const auto aad = BlockAad(header_.file_id, block, hole);
    if (hole) {
      key.Seal(seal.nonce, aad, {}, {}, seal.tag);
    } else {
      const size_t at = i * kBlockSize, size = std::min<size_t>(kBlockSize, plain.size() - at);
      key.Seal(seal.nonce, aad, plain.subspan(at, size), cipher.subspan(at, size), seal.tag);
    }
    entry.Serialize(raw);
  }
  CountSeals(count);
  KF_RETURN_IF_ERROR(WriteAt(fd_.get(), Off(EntryOffset(first)), entries));
  if (hole) return OkStatus();
  return WriteAt(fd_.get(), Off(DataOffset(first)), cipher);
}

// FillGroup gives every block of a hole group, up to the end of the file, a
// hole seal of its own, and takes the group from the list.
Status File::FillGroup(GroupNo group) {
  const uint64_t first = FirstBlockOf(group).value;
  const uint64_t end = std::min(LastBlockOf(group).value + 1, BlocksOf(header_.length));
  if (end > first)
    KF_RETURN_IF_ERROR(StoreBlocks(BlockNo(first), {}, true, end - first));
  Status removed = header_.holes.Remove(group);
  if (removed.error() == Error::kLimitExceeded) {
    KF_RETURN_IF_ERROR(MakeRoomForHole());
    removed = header_.holes.Remove(group);
  }
  dirty_ = true;
  return removed;
}

Status File::MakeRoomForHole() {
  constexpr uint64_t kMaxFill = 1 << 18;  // groups: 1 GiB of entries
  const auto smallest = header_.holes.SmallestRange();
  if (!smallest) return OkStatus();
  if (smallest->count > kMaxFill) return Status::FromErrno(EFBIG, "too many holes");
  for (uint64_t g = smallest->first.value; g < smallest->end(); ++g) {
    const uint64_t first = FirstBlockOf(GroupNo(g)).value;
    const uint64_t end = std::min(LastBlockOf(GroupNo(g)).value + 1, BlocksOf(header_.length));
    if (end > first) KF_RETURN_IF_ERROR(StoreBlocks(BlockNo(first), {}, true, end - first));
  }
  (void)header_.holes.RemoveRange(*smallest);
  dirty_ = true;
  return OkStatus();
}

// WriteBlocks stores whole blocks (the last one may be the end of the file of
// `new_length`) beginning at `first`, which is not behind the end.
Status File::WriteBlocks(BlockNo first, ByteView plain, uint64_t new_length) {
  uint64_t block = first.value;
  while (!plain.empty()) {
    const GroupNo group = GroupOf(BlockNo(block));
    const uint64_t end = LastBlockOf(group).value + 1;
    const size_t bytes = std::min<uint64_t>(plain.size(), (end - block) * kBlockSize);
    if (header_.holes.Contains(group)) KF_RETURN_IF_ERROR(FillGroup(group));
    KF_RETURN_IF_ERROR(StoreBlocks(BlockNo(block), plain.first(bytes), false, BlocksOf(bytes)));
    plain = plain.subspan(bytes);
    block = end;
    const uint64_t reached = std::min(new_length, end * kBlockSize);
    if (!plain.empty() && reached > header_.length) header_.length = reached;
  }
  if (new_length > header_.length) header_.length = new_length;
  dirty_ = true;
  return OkStatus();
}

// Extend makes the file longer without data: what is added is a hole.
Status File::Extend(uint64_t length) {
  const uint64_t old = header_.length;
  const BlockNo last = BlockOf(PlainOffset(old));
  if (old % kBlockSize != 0 && !header_.holes.Contains(GroupOf(last))) {
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
        const HoleRange range{group, end_group.value - group.value};
        Status added = header_.holes.Add(range);
        if (added.error() == Error::kLimitExceeded) {
          KF_RETURN_IF_ERROR(MakeRoomForHole());
          added = header_.holes.Add(range);
        }
        KF_RETURN_IF_ERROR(added);
      }
    }
  }
  if (::ftruncate(fd_.get(), static_cast<off_t>(BackingSize(length))) != 0)
    return Status::FromErrno(errno, "truncate");
  header_.length = length;
  dirty_ = true;
  return OkStatus();
}

Status File::Write(uint64_t offset, ByteView data) {
  std::unique_lock lock(mutex_);
  if (!unlocked_) return Gone();
  if (data.empty()) return OkStatus();
  if (offset > kMaxFileSize || data.size() > kMaxFileSize - offset)
    return Status::FromErrno(EFBIG, "write");
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
  if (status.ok() && end != stop && (last != first || offset == start)) status = fill(last);
  if (status.ok()) {
    std::memcpy(whole.data() + (offset - start), data.data(), data.size());
    status = WriteBlocks(first, whole, new_length);
  }
  explicit_bzero(whole.data(), whole.size());
  return status;
}

Status File::Truncate(uint64_t length) {
  std::unique_lock lock(mutex_);
  if (!unlocked_) return Gone();
  if (length > kMaxFileSize) return Status::FromErrno(EFBIG, "truncate");
  if (length == header_.length) return OkStatus();
  if (length > header_.length) return Extend(length);
  const BlockNo last = BlockOf(PlainOffset(length));
  const uint64_t keep = length % kBlockSize;
  const bool reseal = keep != 0 && !header_.holes.Contains(GroupOf(last));
  std::array<uint8_t, kBlockSize> plain{};
  if (reseal)
    KF_RETURN_IF_ERROR(
        ReadBlock(last, MutableBytes(plain).first(BlockBytes(last, header_.length))));
  // The header goes first: it says what is cut before anything is.
  header_.length = length;
  header_.holes.TruncateTo(length);
  dirty_ = true;
  KF_RETURN_IF_ERROR(WriteHeaderLocked());
  if (reseal) KF_RETURN_IF_ERROR(WriteBlocks(last, ByteView(plain).first(keep), length));
  if (::ftruncate(fd_.get(), static_cast<off_t>(BackingSize(length))) != 0)
    return Status::FromErrno(errno, "truncate");
  return OkStatus();
}

Status File::WriteHeaderLocked() {
  if (!dirty_ || !unlocked_) return OkStatus();
  ++header_.generation;
  KF_ASSIGN_OR_RETURN(Bytes slot, EncodeHeaderSlot(header_));
  const Sha256Digest mac = HmacSha256(header_key_, slot);
  slot.insert(slot.end(), mac.begin(), mac.end());
  Bytes both = slot;
  both.insert(both.end(), slot.begin(), slot.end());
  KF_RETURN_IF_ERROR(WriteAt(fd_.get(), 0, both));
  dirty_ = false;
  return OkStatus();
}

Status File::WriteHeader() {
  std::unique_lock lock(mutex_);
  return WriteHeaderLocked();
}

Status File::Sync(bool data_only) {
  KF_RETURN_IF_ERROR(WriteHeader());
  if ((data_only ? ::fdatasync(fd_.get()) : ::fsync(fd_.get())) != 0)
    return Status::FromErrno(errno, "fsync");
  return OkStatus();
}

Status File::Rewrap(std::string key_id, Bytes blob) {
  std::unique_lock lock(mutex_);
  if (!unlocked_) return Gone();
  header_.key_id = std::move(key_id);
  header_.blob = std::move(blob);
  dirty_ = true;
  KF_RETURN_IF_ERROR(WriteHeaderLocked());
  if (::fdatasync(fd_.get()) != 0) return Status::FromErrno(errno, "fsync");
  return OkStatus();
}

void File::Wipe() {
  std::unique_lock lock(mutex_);
  unlocked_ = false;
  dek_.Reset();
  header_key_.Reset();
  std::lock_guard epochs(epochs_mutex_);
  epochs_.clear();
}

}  // namespace keyfold
