// Staging: blocks of one file that are sealed and wait to be stored.
//
// What they replace survives power loss, so they must not be written over it before
// their seals survive too. Until then they wait here, for many at once.
//
// Owns: ciphertexts and seals, in memory. Must not know: keys, where blocks lie. Blocks
// of one stripe (GroupStripes) are guarded by it, and all by the file's lock.
#pragma once

#include <array>
#include <atomic>
#include <map>

#include "fs/format/BlockEntry.h"
#include "fs/vault/GroupStripes.h"
#include "kms/base/Bytes.h"

namespace keyfold {

class Staging {
 public:
  struct Block {
    Seal seal;
    Bytes cipher;  // empty for a hole
  };
  using Blocks = std::map<uint64_t, Block>;  // by block number

  Staging() = default;
  ~Staging() { Clear(); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Bytes staged in all files.
  static size_t InAll() { return in_all_; }

  bool empty() const { return count_ == 0; }
  void Put(BlockNo block, Block staged);
  // Find returns what is to be stored last of the block; null if nothing is.
  const Block* Find(BlockNo block) const;
  // Taken are the blocks that are being stored. Take adds to them all there are, and
  // they stay until Stored; what is put meanwhile waits for the next Take.
  const Blocks& Take();
  const Blocks& taken() const { return taken_; }
  void Stored();
  // Drop forgets the blocks from `first` on, before `end`.
  void Drop(BlockNo first, uint64_t end);
  void Clear() { Drop(BlockNo(0), UINT64_MAX); }

 private:
  static size_t SizeOf(const Block& block);
  void Count(const Block& block, bool more);
  void Erase(Blocks& blocks, uint64_t first, uint64_t end);

  static std::atomic<size_t> in_all_;
  std::atomic<size_t> count_{0};
  std::array<Blocks, GroupStripes::kStripes> waiting_;
  Blocks taken_;
};

}  // namespace keyfold
