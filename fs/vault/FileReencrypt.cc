// Giving a file another data key while it is in use: what is sealed from then on is
// under the new one, and what was sealed before is sealed anew, part by part. Until the
// last, the header keeps the former key, sealed under the new one.
#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "fs/vault/File.h"

namespace keyfold {
namespace {

SecretBytes FormerKeyKey(const SecretBytes& dek) {
  return Hkdf(dek, {}, AsBytes(kFormerKeyLabel));
}

Bytes FormerKeyAad(const FileId& file, uint32_t end_epoch) {
  ByteWriter writer;
  writer.Append(file.view());
  writer.Integer(end_epoch);
  return writer.Take();
}

}  // namespace

Result<SecretBytes> File::OpenFormer(const SecretBytes& dek, const HeaderSlot& header) {
  return OpenSecret(FormerKeyKey(dek),
                    FormerKeyAad(header.file_id, header.former->end_epoch),
                    header.former->sealed);
}

void File::ForgetContentKeys() {
  std::lock_guard lock(epochs_mutex_);
  epochs_.clear();
}

Status File::BeginReencrypt(WrappedDataKey fresh) {
  // What there is may have to survive power loss from now on, so that it is replaced by
  // staging only, and this sync is not waited for under the lock.
  KF_RETURN_IF_ERROR(SyncContents(true));
  std::scoped_lock locks(flush_mutex_, mutex_);
  if (!unlocked_) return Gone();
  if (header_.former) return OkStatus();
  if (header_.key_id != fresh.key_id) return Status::FromErrno(ESTALE, "re-encrypt");
  if (header_.key_epoch >= kMaxKeyEpoch) return Status::FromErrno(EFBIG, "re-encrypt");
  KF_ASSIGN_OR_RETURN(const DataFile::Info before, data_->Stat());
  return OrNoMemory([&] {
    KF_RETURN_IF_ERROR(UseFreshKey(std::move(fresh)));
    KF_RETURN_IF_ERROR(data_->SetTimes(before.accessed, before.modified));
    return SyncDisk(true);
  });
}

// UseFreshKey writes a header of the new key, and puts all back if that fails.
Status File::UseFreshKey(WrappedDataKey fresh) {
  SecretBytes dek = fresh.key.Release();
  SecretBytes header_key = Hkdf(dek, {}, AsBytes(kHeaderKeyLabel));
  HeaderSlot header = header_;
  const Bytes commitment = HkdfPublic(dek, {}, AsBytes(kCommitmentLabel));
  std::copy(commitment.begin(), commitment.end(), header.commitment.begin());
  header.blob = std::move(fresh.blob);
  header.seals_in_epoch = kSealReserve;
  FormerKey& former = header.former.emplace();
  former.end_epoch = ++header.key_epoch;
  const Bytes sealed = SealSecret(FormerKeyKey(dek),
                                  FormerKeyAad(header.file_id, former.end_epoch), dek_);
  std::copy(sealed.begin(), sealed.end(), former.sealed.begin());

  uint64_t seals = 0;
  const auto exchange = [&] {
    std::swap(header_, header);
    std::swap(dek_, dek);
    std::swap(header_key_, header_key);
    seals = seals_used_.exchange(seals);
    ForgetContentKeys();
  };
  exchange();
  dirty_ = true;
  if (const Status written = WriteHeaderLocked(); !written.ok()) {
    // Part of it may be there: what is written next must count for more.
    header.generation = header_.generation;
    exchange();
    return written;
  }
  former_dek_ = std::move(dek);
  reencrypted_ = 0;
  flag_synced_ = false;  // nor is this header, until it is
  return OkStatus();
}

Result<File::ReencryptProgress> File::Reencrypt(uint64_t bytes) {
  std::lock_guard flushing(flush_mutex_);
  Lock lock(mutex_);
  if (!unlocked_) return Gone();
  const Status status = OrNoMemory([&] {
    if (!header_.former) return OkStatus();
    KF_RETURN_IF_ERROR(ReencryptBlocks(BlocksOf(bytes)));
    return reencrypted_ < BlocksOf(header_.length) ? StoreStaged(&lock)
                                                   : EndReencrypt(&lock);
  });
  if (!status.ok()) return status;
  ReencryptProgress progress;
  progress.finished = !header_.former;
  progress.total = header_.length;
  progress.done = progress.finished
                      ? header_.length
                      : std::min(header_.length, reencrypted_ * kBlockSize);
  return progress;
}

// ReencryptBlocks goes on from where it came to. Each block it passes is under the new
// key by then, and so is what replaces it.
Status File::ReencryptBlocks(uint64_t count) {
  KF_ASSIGN_OR_RETURN(const DataFile::Info before, data_->Stat());
  const uint64_t end = std::min(reencrypted_ + count, BlocksOf(header_.length));
  while (reencrypted_ < end) {
    const BlockNo first(reencrypted_);
    const uint64_t stop = std::min(LastBlockOf(GroupOf(first)).value + 1, end);
    if (!header_.holes.Contains(GroupOf(first)))
      KF_RETURN_IF_ERROR(ReencryptRun(first, stop - first.value));
    reencrypted_ = stop;
  }
  // Blocks behind what was synced are written in place.
  return data_->SetTimes(before.accessed, before.modified);
}

Result<Seal> File::SealInUse(BlockNo block, const BlockEntry& entry) {
  if (const Staging::Block* staged = staging_.Find(block)) return staged->seal;
  if (!torn_) return entry.seals[0];
  std::array<uint8_t, kBlockSize> cipher, plain;
  const size_t bytes = BlockBytes(block, header_.length);
  KF_ASSIGN_OR_RETURN(const size_t n, data_->ReadAt(DataOffset(block).value,
                                                    MutableBytes(cipher).first(bytes)));
  const auto opened = OpenBlock(entry, block, ByteView(cipher).first(n),
                                MutableBytes(plain).first(bytes), torn_);
  explicit_bzero(plain.data(), plain.size());
  // Of a block that neither opens reading fails, as it must.
  return entry.seals[opened.value_or(0)];
}

// ReencryptRun does `count` blocks of one group that is no hole.
Status File::ReencryptRun(BlockNo first, uint64_t count) {
  Bytes entries(count * kEntrySize);
  KF_ASSIGN_OR_RETURN(const size_t n, data_->ReadAt(EntryOffset(first).value, entries));
  if (n != entries.size())
    return Status(Error::kCorrupt, "entries of blocks are missing");
  enum class Todo { kNothing, kHole, kData };
  std::vector<Todo> todo;
  for (uint64_t i = 0; i < count; ++i) {
    const ByteView raw = ByteView(entries).subspan(i * kEntrySize, kEntrySize);
    KF_ASSIGN_OR_RETURN(const Seal seal,
                        SealInUse(BlockNo(first.value + i), BlockEntry::Parse(raw)));
    if (!seal.IsAbsent() && *seal.epoch >= header_.former->end_epoch)
      todo.push_back(Todo::kNothing);
    else
      todo.push_back(seal.hole ? Todo::kHole : Todo::kData);
  }
  for (uint64_t i = 0; i < count;) {
    uint64_t end = i + 1;
    while (end < count && todo[end] == todo[i]) ++end;
    const BlockNo block(first.value + i);
    if (todo[i] != Todo::kNothing)
      KF_RETURN_IF_ERROR(ReencryptAlike(block, end - i, todo[i] == Todo::kHole));
    i = end;
  }
  return OkStatus();
}

Status File::ReencryptAlike(BlockNo first, uint64_t count, bool hole) {
  const uint64_t begin = first.value * kBlockSize;
  Bytes plain(std::min(count * kBlockSize, header_.length - begin));
  // Also of a hole: its seal must be good before another takes its place.
  Status status = ReadBlocks(first, plain);
  if (status.ok())
    status = StoreBlocks(first, hole ? ByteView() : ByteView(plain), hole, count);
  explicit_bzero(plain.data(), plain.size());
  return status;
}

// EndReencrypt forgets the former key, once nothing on disk is under it.
Status File::EndReencrypt(Lock* lock) {
  KF_RETURN_IF_ERROR(StoreStaged(lock));
  KF_RETURN_IF_ERROR(SyncApart(lock));
  KF_ASSIGN_OR_RETURN(const DataFile::Info before, data_->Stat());
  std::optional<FormerKey> former;
  std::swap(former, header_.former);
  dirty_ = true;
  if (const Status written = WriteHeaderLocked(); !written.ok()) {
    std::swap(former, header_.former);
    return written;
  }
  former_dek_.Reset();
  ForgetContentKeys();
  KF_RETURN_IF_ERROR(data_->SetTimes(before.accessed, before.modified));
  return SyncDisk(true);
}

}  // namespace keyfold
