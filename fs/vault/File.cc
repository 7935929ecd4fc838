#include "fs/vault/File.h"

#include <errno.h>

#include <algorithm>
#include <cstring>

namespace keyfold {
namespace {

Status Damaged(std::string what) { return Status(Error::kCorrupt, std::move(what)); }

// A file up to this size is set right whole when it is opened after a crash.
constexpr uint64_t kSettleAtOpen = 64 << 20;

}  // namespace

Status File::Gone() {
  return Status::FromErrno(EACCES, "the file's key was taken away");
}

Result<std::shared_ptr<File>> File::Create(std::unique_ptr<DataFile> data, ino_t ino,
                                           Checkpoints& checkpoints, HeaderSlot header,
                                           DataKey dek) {
  auto file = std::make_shared<File>(std::move(data), ino, checkpoints);
  file->dek_ = dek.Release();
  file->header_key_ = Hkdf(file->dek_, {}, AsBytes(kHeaderKeyLabel));
  const Bytes commitment = HkdfPublic(file->dek_, {}, AsBytes(kCommitmentLabel));
  std::copy(commitment.begin(), commitment.end(), header.commitment.begin());
  file->header_ = std::move(header);
  file->header_.seals_in_epoch = kSealReserve;
  file->unlocked_ = true;
  file->dirty_ = true;
  KF_RETURN_IF_ERROR(file->WriteHeaderLocked(kPageSize));
  file->PublishIdentity(IdentityOf(file->header_));
  return file;
}

Result<File::ClaimedHeader> File::Inspect() const {
  ClaimedHeader claimed;
  claimed.raw.resize(kHeaderSlots * kHeaderSlotSize);
  KF_ASSIGN_OR_RETURN(const size_t n, data_->ReadAt(0, claimed.raw));
  if (n != claimed.raw.size()) return Damaged("the file is shorter than its header");
  Status failure = OkStatus();
  bool found = false;
  for (size_t i = 0; i < kHeaderSlots; ++i) {
    auto slot = ParseHeaderSlot(
        ByteView(claimed.raw).subspan(i * kHeaderSlotSize, kHeaderSlotSize));
    if (!slot.ok() && failure.ok()) failure = slot.status();
    if (!slot.ok() || (found && slot->generation <= claimed.slot.generation)) continue;
    claimed.slot = std::move(*slot);
    claimed.index = i;
    found = true;
  }
  if (!found) return failure;
  return claimed;
}

std::optional<File::ClaimedHeader> File::Other(const ClaimedHeader& first) {
  static_assert(kHeaderSlots == 2);
  const size_t other = 1 - first.index;
  auto second = ParseHeaderSlot(
      ByteView(first.raw).subspan(other * kHeaderSlotSize, kHeaderSlotSize));
  if (!second.ok() ||
      (IdentityOf(*second) == IdentityOf(first.slot) &&
       second->blob == first.slot.blob && second->commitment == first.slot.commitment))
    return std::nullopt;
  return ClaimedHeader{first.raw, *std::move(second), other};
}

// Authenticate checks the commitment, and finds the newest header that authenticates.
Result<File::Authentic> File::Authenticate(const DataKey& dek,
                                           const ClaimedHeader& claimed) const {
  const Bytes commitment = HkdfPublic(dek.bytes(), {}, AsBytes(kCommitmentLabel));
  if (!ConstantTimeEqual(commitment, claimed.slot.commitment))
    return Damaged("the key is not the one the file was committed to");
  Authentic found;
  found.header_key = Hkdf(dek.bytes(), {}, AsBytes(kHeaderKeyLabel));
  std::optional<HeaderSlot> newest;
  for (size_t i = 0; i < kHeaderSlots; ++i) {
    const ByteView raw =
        ByteView(claimed.raw).subspan(i * kHeaderSlotSize, kHeaderSlotSize);
    if (!ConstantTimeEqual(HmacSha256(found.header_key, HeaderMacedBytes(raw)),
                           HeaderMac(raw)))
      continue;
    auto slot = ParseHeaderSlot(raw);
    if (!slot.ok() || slot->file_id != claimed.slot.file_id) continue;
    found.slots[i] = true;
    if (!newest || slot->generation > newest->generation) newest = std::move(*slot);
  }
  if (!newest) return Damaged("the file's header does not authenticate");
  if (newest->former) {
    auto former = OpenFormer(dek.bytes(), *newest);
    if (!former.ok()) return Damaged("the file's former key does not open");
    found.former_dek = *std::move(former);
  }
  found.newest = std::move(*newest);
  const Checkpoints::State state = checkpoints_.StateOf(found.newest.checkpoint);
  if (state == Checkpoints::State::kClosed)
    found.newest.synced_length = found.newest.length;
  found.closing = state == Checkpoints::State::kClosing;
  found.may_lack = state == Checkpoints::State::kTorn &&
                   found.newest.synced_length < found.newest.length;
  return found;
}

void File::UseHeader(const DataKey& dek, Authentic header) {
  header_ = std::move(header.newest);
  seals_used_ = header_.seals_in_epoch;
  stable_length_ = marked_length_ = header_.synced_length;
  if (header.closing) RaiseStable(header_.length);
  torn_ = header_.torn;
  dirty_ = false;
  dek_ = CopySecret(dek.bytes());
  header_key_ = std::move(header.header_key);
  former_dek_ = std::move(header.former_dek);
  reencrypted_ = 0;
  unlocked_ = true;
}

Status File::Unlock(const DataKey& dek, const ClaimedHeader& claimed,
                    const Recovering& recovering) {
  std::scoped_lock locks(flush_mutex_, mutex_);
  if (unlocked_) return OkStatus();
  if (wiped_) return Gone();
  KF_ASSIGN_OR_RETURN(Authentic found, Authenticate(dek, claimed));
  KF_ASSIGN_OR_RETURN(const DataFile::Info info, data_->Stat());
  if (BackingSize(found.LeastLength()) > info.size)
    return Damaged("the file was cut short in the backing store");
  const bool may_lack = found.may_lack;
  UseHeader(dek, std::move(found));
  const Status ready = OrNoMemory([&] {
    if (may_lack) KF_RETURN_IF_ERROR(Recover(PlainSize(info.size), recovering));
    if (torn_ && header_.length <= kSettleAtOpen) KF_RETURN_IF_ERROR(SettleFile());
    // A killed daemon may leave more behind the end than the header knows of.
    if (info.size > BackingSize(header_.length))
      KF_RETURN_IF_ERROR(CutExcess(PlainSize(info.size)));
    PublishIdentity(IdentityOf(header_));
    return OkStatus();
  });
  if (!ready.ok()) {
    unlocked_ = overwriting_ = false;
    staging_.Clear();  // the next to unlock it begins with what is on disk
  }
  return ready;
}

std::optional<FileIdentity> File::identity() const {
  std::lock_guard lock(identity_mutex_);
  return identity_;
}

void File::PublishIdentity(FileIdentity identity) {
  std::lock_guard lock(identity_mutex_);
  identity_ = std::move(identity);
}

HeaderSlot File::header() const {
  std::shared_lock lock(mutex_);
  return header_;
}

uint64_t File::length() const {
  std::shared_lock lock(mutex_);
  return header_.length;
}

// WriteHeaderLocked writes both slots at once, followed by zeros up to `size`. It
// does not throw: who changed header_ takes the change back when writing it failed,
// be it for want of memory.
Status File::WriteHeaderLocked(size_t size) {
  if (!dirty_ || !unlocked_) return OkStatus();
  return OrNoMemory([&] { return PutHeader(size); });
}

Status File::PutHeader(size_t size) {
  if (unsynced_fill_) {
    // Once the header no longer says that these are holes, they must be something else.
    KF_RETURN_IF_ERROR(SyncDisk(true));
    unsynced_fill_ = false;
  }
  std::optional<Checkpoints::Writing> writing;
  if (header_.synced_length < header_.length) {
    writing.emplace(checkpoints_);
    header_.checkpoint = writing->number();
  }
  ++header_.generation;
  KF_ASSIGN_OR_RETURN(Bytes slot, EncodeHeaderSlot(header_));
  const Sha256Digest mac = HmacSha256(header_key_, slot);
  slot.insert(slot.end(), mac.begin(), mac.end());
  Bytes both = slot;
  both.insert(both.end(), slot.begin(), slot.end());
  if (size > both.size()) both.resize(size);
  KF_RETURN_IF_ERROR(data_->WriteAt(0, both));
  dirty_ = quiet_ = false;
  return OkStatus();
}

Status File::WriteHeader() {
  std::unique_lock lock(mutex_);
  return WriteSettledHeader();
}

// WriteSettledHeader is for when no write is under way: each that was begun has
// ended, well or noted in torn_. What a sync leaves to be written moves no times.
Status File::WriteSettledHeader() {
  if (!dirty_ && !quiet_) return OkStatus();
  header_.torn = torn_ || overwriting_;
  if (!header_.torn) flag_synced_ = false;
  if (dirty_) return WriteHeaderLocked();
  KF_ASSIGN_OR_RETURN(const DataFile::Info before, data_->Stat());
  dirty_ = true;
  KF_RETURN_IF_ERROR(WriteHeaderLocked());
  return data_->SetTimes(before.accessed, before.modified);
}

Status File::Rewrap(const Bytes& former, std::string key_id, Bytes blob) {
  std::unique_lock lock(mutex_);
  if (!unlocked_) return Gone();
  if (header_.blob != former) return Status::FromErrno(ESTALE, "set key");
  KF_ASSIGN_OR_RETURN(const DataFile::Info before, data_->Stat());
  std::swap(header_.key_id, key_id);
  std::swap(header_.blob, blob);
  dirty_ = true;
  const Status written = OrNoMemory([&] {
    FileIdentity identity = IdentityOf(header_);
    KF_RETURN_IF_ERROR(WriteHeaderLocked());
    PublishIdentity(std::move(identity));
    return OkStatus();
  });
  if (!written.ok()) {
    // What was refused must not take effect with a later header.
    header_.key_id = std::move(key_id);
    header_.blob = std::move(blob);
    return written;
  }
  KF_RETURN_IF_ERROR(data_->SetTimes(before.accessed, before.modified));
  return data_->Sync(true);
}

void File::Refresh(const Bytes& former, Bytes blob) {
  std::unique_lock lock(mutex_);
  if (!unlocked_ || header_.blob != former) return;
  header_.blob = std::move(blob);
  quiet_ = true;
}

void File::Wipe() {
  std::scoped_lock locks(flush_mutex_, mutex_);
  // What came after the file was settled, or could not be stored then.
  const Status stored = OrNoMemory([&] {
    if (!unlocked_) return OkStatus();
    KF_RETURN_IF_ERROR(StoreStaged(nullptr));
    return WriteSettledHeader();
  });
  if (!stored.ok()) lost_errno_ = EIO;
  unlocked_ = false;
  wiped_ = true;
  staging_.Clear();
  dek_.Reset();
  former_dek_.Reset();
  header_key_.Reset();
  std::scoped_lock guards(identity_mutex_, epochs_mutex_);
  identity_.reset();
  epochs_.clear();
}

}  // namespace keyfold
