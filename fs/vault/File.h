// File: the contents of one encrypted file while it is open, and Handle: one
// user's right to it.
//
// Owns: header, DEK-derived keys, block encryption, length and holes. Must not
// know: names, folders, who may. Thread-safe: mutex_ is held shared to read
// contents and exclusively to change them, but for whole blocks that are replaced:
// that takes mutex_ shared and the group's stripe exclusively (GroupStripes).
//
// Contents that survive power loss are not written over at once: new blocks wait in
// memory (Staging) for Flush, which stores their seals, lets these become durable, and
// then stores the blocks. What lies behind is written in place.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "fs/backend/DataFile.h"
#include "fs/format/Geometry.h"
#include "fs/format/Header.h"
#include "fs/vault/Checkpoints.h"
#include "fs/vault/GroupStripes.h"
#include "fs/vault/SharedMutex.h"
#include "fs/vault/Staging.h"
#include "kms/crypto/Crypto.h"
#include "kms/service/DataKeys.h"

namespace keyfold {

class File;

// Handle binds an open file to who opened it and for what.
struct Handle {
  std::shared_ptr<File> file;
  Caller caller;
  KeyUse use = KeyUse::kRead;
  std::string path;
  // The first to open the file: its length comes from disk.
  bool first = false;
  // Whether its reading has been counted as an access to the file.
  std::atomic<bool> counted{false};
  // Whether opening it was allowed. Until then nothing is shown through it, so a right
  // it never had takes the file from nobody else.
  std::atomic<bool> admitted{false};
  // Set once, when the right was lost; reads fail with it from then on.
  std::atomic<int> lost_errno{0};
};

// FileIdentity is what decisions about a file need to know of it.
struct FileIdentity {
  FileId file_id;
  FolderId home_folder;
  std::string key_id;
  bool operator==(const FileIdentity&) const = default;
};
inline FileIdentity IdentityOf(const HeaderSlot& header) {
  return {header.file_id, header.home_folder, header.key_id};
}

class File {
 public:
  // ClaimedHeader is a header as found on disk, not yet believed.
  struct ClaimedHeader {
    Bytes raw;         // both slots
    HeaderSlot slot;   // the newer of those that parse: enough to ask the KMS
    size_t index = 0;  // which one that is
  };

  File(std::unique_ptr<DataFile> data, ino_t ino, Checkpoints& checkpoints)
      : data_(std::move(data)), ino_(ino), checkpoints_(checkpoints) {}
  // Create writes the header of a new, empty file to `data`.
  static Result<std::shared_ptr<File>> Create(std::unique_ptr<DataFile> data, ino_t ino,
                                              Checkpoints& checkpoints,
                                              HeaderSlot header, DataKey dek);
  // Other is what the other slot says, if that parses and tells of another key. Slots
  // differ in that only if a write of the header was torn, or by somebody else's hand.
  static std::optional<ClaimedHeader> Other(const ClaimedHeader& first);
  // Inspect reads the header of a file that is not unlocked. kCorrupt,
  // kNewerFormat.
  Result<ClaimedHeader> Inspect() const;
  // Unlock checks the commitment, authenticates the header and takes it into
  // use; nothing changes in a file that is unlocked. kCorrupt when the file was
  // altered or cut. What a power failure took of the end, if no Sync had confirmed it,
  // is missing then; `recovering`, if given, is told before anything says so on disk,
  // and its failure is Unlock's.
  using Recovering = std::function<Status()>;
  Status Unlock(const DataKey& dek, const ClaimedHeader& claimed,
                const Recovering& recovering = {});
  // CheckHeader does what Unlock does and writes nothing: for a file that nobody has
  // open, and that is only looked at. kCorrupt says why Unlock would fail; what is told
  // of the file before is in `found`.
  struct Condition {
    std::array<bool, kHeaderSlots> slots{};  // which authenticate
    FileId file_id;
    uint64_t length = 0;       // in bytes, as Unlock would make it
    uint64_t lost = 0;         // what a power failure took of the end
    uint64_t disk_length = 0;  // how much of the file the backing file has room for
    bool cut = false;          // that is less than must be there
  };
  Status CheckHeader(const DataKey& dek, const ClaimedHeader& claimed,
                     Condition* found);
  // CheckBlocks reads every block after CheckHeader, and calls `bad` with ranges of
  // bytes, ascending, that cannot be read: kCorrupt when they do not authenticate,
  // kSystem when the disk gives an error. It calls `proceed` with bytes passed since it
  // was last called, and ends early when that is false.
  using BadRange = std::function<void(uint64_t begin, uint64_t end, const Status& why)>;
  void CheckBlocks(const std::function<bool(uint64_t)>& proceed, const BadRange& bad);
  // Identity never waits for reads and writes; empty before Unlock and after Wipe.
  std::optional<FileIdentity> identity() const;
  // The header in use; empty before Unlock.
  HeaderSlot header() const;
  ino_t ino() const { return ino_; }
  uint64_t length() const;

  // Read decrypts up to out.size() bytes at `offset`; fewer only at the end.
  // kCorrupt when a block fails authentication.
  Result<size_t> Read(uint64_t offset, MutableBytes out);
  // CountReads lets reads from now on count as accesses to the file.
  void CountReads() { data_->CountReads(); }
  Status Write(uint64_t offset, ByteView data);
  Status Truncate(uint64_t length);
  // Reserve makes room on the backing store for a range, so that writing there
  // fails for no lack of it; it makes the file longer unless `keep_size`.
  // kSystem/EOPNOTSUPP where the backing store can't.
  Status Reserve(uint64_t offset, uint64_t size, bool keep_size);
  // Zero makes the range read as zeros, up to the file's end; with `release` its
  // space goes back to the backing store.
  Status Zero(uint64_t offset, uint64_t size, bool release);
  // Seek returns where, from `offset` on, data begins or else a hole does; the
  // end of the file counts as one. kSystem/ENXIO when there is neither.
  enum class Seeking { kData, kHole };
  Result<uint64_t> Seek(uint64_t offset, Seeking what);
  // WriteHeader stores the header if it changed since. Sync makes contents and header
  // survive power loss. It also fails if a sync before it did that nobody asked for.
  Status WriteHeader();
  Status Sync(bool data_only);
  // Flush stores blocks that wait, and the header. They wait for a sync in between.
  Status Flush();
  // Settle leaves nothing to be done, as before the file is closed; SeemsSettled tells
  // whether that takes no sync.
  Status Settle();
  bool SeemsSettled() const { return staging_.empty() && !overwriting_; }
  // Hold runs `action` while nothing is stored but by calls of this file.
  Status Hold(const std::function<Status()>& action);
  // Mark and Confirm stand around a sync of the whole store: what was there at Mark
  // survives power loss by then.
  Status Mark();
  void Confirm();
  // Rewrap replaces the wrapped DEK `former` (same key, other CMK). Times are kept.
  // kSystem/ESTALE if another has taken its place, which may be of another key.
  Status Rewrap(const Bytes& former, std::string key_id, Bytes blob);
  // Refresh takes `blob`, of the same key and CMK, for `former`, if that is still in
  // use; the next header to be written has it.
  void Refresh(const Bytes& former, Bytes blob);

  // FileReencrypt.cc. BeginReencrypt makes `fresh` the data key, of the CMK the file is
  // under (else kSystem/ESTALE); does nothing where that was begun before and not
  // ended. Reencrypt then seals up to `bytes` anew that are under the former key, and
  // forgets it after the last. Others may read and write meanwhile. Times are kept.
  // kCorrupt when a block does not open; both keys then stay.
  struct ReencryptProgress {
    uint64_t done = 0, total = 0;  // bytes
    bool finished = false;
  };
  Status BeginReencrypt(WrappedDataKey fresh);
  Result<ReencryptProgress> Reencrypt(uint64_t bytes);
  // Wipe stores what waits and forgets every key; reads and writes fail with EACCES
  // after, and the next Sync tells if something was not stored.
  void Wipe();

 private:
  // FileBlocks.cc: blocks and their seals. Callers hold mutex_.
  const Aead& ContentKey(uint32_t epoch);
  Status ReserveSeals(uint64_t count);
  bool TakeSeals(uint64_t count);
  bool IsCurrent(const Seal& seal) const;
  std::optional<size_t> OpenBlock(const BlockEntry& entry, BlockNo block,
                                  ByteView cipher, MutableBytes plain,
                                  bool replaced_holes);
  struct Sealed {
    size_t seal;
    uint64_t length;
  };
  std::optional<Sealed> TryLengths(const BlockEntry& entry, BlockNo block,
                                   ByteView cipher, uint64_t least);
  std::optional<size_t> FindSeal(const BlockEntry& entry, BlockNo block,
                                 ByteView cipher, uint64_t bytes);
  void SealBlock(BlockNo block, ByteView nonce, ByteView plain, bool hole,
                 MutableBytes cipher, Seal* seal);
  Status ReadBlock(BlockNo block, MutableBytes plain);
  Status ReadBlocks(BlockNo first, MutableBytes out);
  Status ReadRun(BlockNo first, MutableBytes out);
  Status StoreBlocks(BlockNo first, ByteView plain, bool hole, uint64_t count);
  Status StageBlocks(BlockNo first, ByteView plain, bool hole, uint64_t count);
  bool IsStable(BlockNo block) const;
  Status SealAndStore(BlockNo first, ByteView plain, bool hole, uint64_t count,
                      bool fresh);
  Status StoreNewGroups(BlockNo first, ByteView plain);
  Status SettleEntries(BlockNo first, MutableBytes entries, bool* changed);
  Status SettleFile();

  // FileReencrypt.cc. Callers hold flush_mutex_ and mutex_.
  static Result<SecretBytes> OpenFormer(const SecretBytes& dek,
                                        const HeaderSlot& header);
  void ForgetContentKeys();
  Status UseFreshKey(WrappedDataKey fresh);
  Status ReencryptBlocks(uint64_t count);
  Status ReencryptRun(BlockNo first, uint64_t count);
  Status ReencryptAlike(BlockNo first, uint64_t count, bool hole);
  Result<Seal> SealInUse(BlockNo block, const BlockEntry& entry);

  // FileStaging.cc: storing what waits. Callers hold flush_mutex_ and mutex_; the
  // latter is let go during a sync if it is given.
  using Lock = std::unique_lock<SharedMutex>;
  Status StoreStaged(Lock* lock);
  Status EndReencrypt(Lock* lock);
  Status StoreEntries(const Staging::Blocks& blocks);
  Status StoreData(const Staging::Blocks& blocks);
  Status SyncDisk(bool data_only);
  Status SyncApart(Lock* lock);
  Status SyncStaged(Lock* lock);
  Status SyncContents(bool data_only);
  void RaiseStable(uint64_t length);
  void ConfirmSynced(uint64_t length);
  Result<std::optional<uint64_t>> SealedLength(BlockNo block, uint64_t least,
                                               uint64_t most);
  Result<uint64_t> FindEnd(uint64_t disk_length);
  Status Recover(uint64_t disk_length, const Recovering& recovering);

  // FileData.cc: length, holes, partial blocks. Callers hold mutex_.
  Status WriteBlocks(BlockNo first, ByteView plain, uint64_t new_length);
  Status FillGroup(GroupNo group);
  Status FillRange(HoleRange range);
  Status MakeRoomForHole();
  Status AddHole(HoleRange range);
  Status Extend(uint64_t length);
  Status WriteOnce(uint64_t offset, ByteView data);
  void KeepKnown();
  void CutUnknown();
  Status Grow(const std::function<Status()>& grow);
  Status Shrink(uint64_t length);
  Status FinishShrink();
  Status WriteRange(uint64_t offset, ByteView data);
  std::optional<Status> Replace(uint64_t offset, ByteView data);
  Result<bool> EndsInData(uint64_t length);
  Status CutExcess(uint64_t disk_length);

  // FileSpace.cc: reserved and released space, and where holes are. Callers hold
  // mutex_.
  struct Span {
    uint64_t begin = 0, end = 0;  // on the backing file
  };
  Status ReserveBlocks(uint64_t offset, uint64_t end);
  Status ReserveHoles(BlockNo first, uint64_t count);
  Status ZeroPart(BlockNo block, uint64_t from, uint64_t to);
  Status ZeroBlocks(BlockNo first, uint64_t end, std::vector<Span>* unused);
  Status ZeroGroups(HoleRange range, std::vector<Span>* unused);
  Status ZeroRange(uint64_t offset, uint64_t size, bool release,
                   std::vector<Span>* unused);
  Result<std::optional<uint64_t>> SeekSome(uint64_t* from, Seeking what);
  Result<bool> IsHole(BlockNo block);
  Result<uint64_t> RunEnd(BlockNo first, bool* hole);

  // What a header says, once it authenticates.
  struct Authentic {
    HeaderSlot newest;
    SecretBytes header_key, former_dek;
    std::array<bool, kHeaderSlots> slots{};
    bool may_lack = false;  // the end may be missing for want of a sync
    bool closing = false;   // its checkpoint is: all may be counted on
    uint64_t LeastLength() const {
      return may_lack ? newest.synced_length : newest.length;
    }
  };
  Result<Authentic> Authenticate(const DataKey& dek,
                                 const ClaimedHeader& claimed) const;
  void UseHeader(const DataKey& dek, Authentic header);
  // FileCheck.cc. Callers hold mutex_.
  Status CheckBlock(BlockNo block, MutableBytes plain);

  static Status Gone();  // of what is asked of a file without keys
  Status WriteHeaderLocked(size_t size = 0);
  Status PutHeader(size_t size);
  Status WriteSettledHeader();
  void PublishIdentity(FileIdentity identity);

  const std::unique_ptr<DataFile> data_;
  const ino_t ino_;
  Checkpoints& checkpoints_;
  std::mutex flush_mutex_;  // taken before mutex_; held while anything is stored
  mutable SharedMutex mutex_;
  GroupStripes stripes_;            // taken after mutex_
  HeaderSlot header_;               // in use
  std::atomic<bool> dirty_{false};  // header_ differs from disk
  bool unlocked_ = false;
  bool wiped_ = false;  // for good
  // Seals made in this epoch; header_.seals_in_epoch is the bound on disk.
  std::atomic<uint64_t> seals_used_ = 0;
  // Some block's data may belong to its entry's second seal: a write failed
  // half-way, now or before the file was opened.
  std::atomic<bool> torn_ = false;
  Staging staging_;
  // Contents up to here may have to survive power loss: blocks of them are staged. At
  // least header_.synced_length, and more while a sync is under way.
  std::atomic<uint64_t> stable_length_ = 0;
  uint64_t marked_length_ = 0;  // what Confirm confirms
  // Staged blocks were stored since the file was last settled: the header has the flag.
  std::atomic<bool> overwriting_ = false;
  bool flag_synced_ = false;    // and the flag is durable
  bool unsynced_data_ = false;  // stored blocks may not be durable yet
  bool unsynced_fill_ = false;  // nor what takes a hole's place
  uint64_t excess_length_ = 0;  // of a file that is checked: how far the disk's goes
  bool quiet_ = false;          // only header_.synced_length differs from disk
  std::atomic<int> lost_errno_ = 0;  // of a sync that failed, until Sync tells of it
  SecretBytes dek_;
  SecretBytes former_dek_;    // while header_.former says so
  uint64_t reencrypted_ = 0;  // blocks up to here are not under it
  SecretBytes header_key_;
  mutable std::mutex identity_mutex_;  // guards identity_; taken after mutex_
  std::optional<FileIdentity> identity_;
  std::mutex epochs_mutex_;  // guards epochs_
  std::map<uint32_t, std::unique_ptr<Aead>> epochs_;
};

}  // namespace keyfold
