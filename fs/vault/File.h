// File: the contents of one encrypted file while it is open, and Handle: one
// user's right to it.
//
// Owns: header, DEK-derived keys, block encryption, length and holes. Must not
// know: names, folders, who may. Thread-safe: mutex_ is held shared to read
// contents and exclusively to change them.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "fs/backend/Backend.h"
#include "fs/format/Geometry.h"
#include "fs/format/Header.h"
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
  // Set once, when the right was lost; reads fail with it from then on.
  std::atomic<int> lost_errno{0};
};

class File {
 public:
  // Create writes the header of a new, empty file to `fd`.
  static Result<std::shared_ptr<File>> Create(UniqueFd fd, ino_t ino, HeaderSlot header,
                                              DataKey dek);
  // Inspect reads the header without believing it: enough to ask the KMS.
  static Result<std::shared_ptr<File>> Inspect(UniqueFd fd, ino_t ino);
  // Unlock checks the commitment, authenticates the header and takes it into
  // use. kCorrupt when the file was altered or cut.
  Status Unlock(const DataKey& dek);
  bool unlocked() const;

  HeaderSlot header() const;
  ino_t ino() const { return ino_; }
  int fd() const { return fd_.get(); }
  uint64_t length() const;

  // Read decrypts up to out.size() bytes at `offset`; fewer only at the end.
  // kCorrupt when a block fails authentication.
  Result<size_t> Read(uint64_t offset, MutableBytes out);
  Status Write(uint64_t offset, ByteView data);
  Status Truncate(uint64_t length);
  // WriteHeader stores the header if it changed since; Sync makes contents and
  // header survive power loss.
  Status WriteHeader();
  Status Sync(bool data_only);
  // Rewrap replaces the wrapped DEK (same key, other CMK).
  Status Rewrap(std::string key_id, Bytes blob);
  // Wipe forgets every key; reads and writes fail with kAccessDenied after.
  void Wipe();

  std::mutex handles_mutex;                        // guards handles
  std::vector<std::shared_ptr<Handle>> handles;    // open ones

 private:
  File(UniqueFd fd, ino_t ino) : fd_(std::move(fd)), ino_(ino) {}

  const Aead& ContentKey(uint32_t epoch);
  void CountSeals(uint64_t count);
  bool OpenBlock(const BlockEntry& entry, BlockNo block, ByteView cipher,
                 MutableBytes plain);
  Status ReadBlock(BlockNo block, MutableBytes plain);
  Status ReadBlocks(BlockNo first, MutableBytes out);
  // StoreBlocks seals `count` blocks of one group and stores their entries,
  // the new seal first and the one it replaces second, then the data.
  Status StoreBlocks(BlockNo first, ByteView plain, bool hole, uint64_t count);
  Status WriteBlocks(BlockNo first, ByteView plain, uint64_t new_length);
  Status FillGroup(GroupNo group);
  Status MakeRoomForHole();
  Status Extend(uint64_t length);
  Status CutExcess(uint64_t disk_length);
  Status WriteHeaderLocked();

  const UniqueFd fd_;
  const ino_t ino_;
  mutable std::shared_mutex mutex_;
  Bytes raw_header_;             // both slots as found on disk
  HeaderSlot header_;            // in use
  bool dirty_ = false;           // header_ differs from disk
  bool unlocked_ = false;
  SecretBytes dek_;
  SecretBytes header_key_;
  std::mutex epochs_mutex_;      // guards epochs_
  std::map<uint32_t, std::unique_ptr<Aead>> epochs_;
};

}  // namespace keyfold
