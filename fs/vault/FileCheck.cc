// A file's bytes looked at, and nothing written.
#include <algorithm>
#include <cstring>

#include "fs/vault/File.h"

namespace keyfold {
namespace {

constexpr uint64_t kChunk = 1 << 20;  // read at once

// EndOfHole is the block behind the hole that `block` lies in; `block` itself if in
// none.
uint64_t EndOfHole(const HoleList& holes, uint64_t block) {
  const GroupNo group = GroupOf(BlockNo(block));
  for (const HoleRange& hole : holes.ranges())
    if (group >= hole.first && group.value < hole.end())
      return FirstBlockOf(GroupNo(hole.end())).value;
  return block;
}

// BeginOfHole is the first block of the next hole behind `block`; `end` if that is
// nearer.
uint64_t BeginOfHole(const HoleList& holes, uint64_t block, uint64_t end) {
  for (const HoleRange& hole : holes.ranges())
    if (const uint64_t first = FirstBlockOf(hole.first).value; first > block)
      return std::min(first, end);
  return end;
}

}  // namespace

Status File::CheckHeader(const DataKey& dek, const ClaimedHeader& claimed,
                         Condition* found) {
  std::scoped_lock locks(flush_mutex_, mutex_);
  KF_ASSIGN_OR_RETURN(Authentic header, Authenticate(dek, claimed));
  KF_ASSIGN_OR_RETURN(const DataFile::Info info, data_->Stat());
  const bool may_lack = header.may_lack;
  found->slots = header.slots;
  found->file_id = header.newest.file_id;
  found->length = header.newest.length;
  found->disk_length = PlainSize(info.size);
  found->cut = BackingSize(header.LeastLength()) > info.size;
  UseHeader(dek, std::move(header));
  if (found->cut) {
    // What is there may still be good.
    header_.length = std::min(header_.length, found->disk_length);
    return Status(Error::kCorrupt, "the file was cut short in the backing store");
  }
  if (may_lack) {
    KF_ASSIGN_OR_RETURN(const uint64_t end, FindEnd(found->disk_length));
    found->lost = header_.length - end;
    found->length = header_.length = end;
    torn_ = true;
  }
  if (info.size > BackingSize(header_.length)) excess_length_ = found->disk_length;
  return OkStatus();
}

// CheckBlock looks at one block. The last one may be sealed at any length the file had
// while it grew, and is put right when the file is opened.
Status File::CheckBlock(BlockNo block, MutableBytes plain) {
  const Status read = ReadBlock(block, plain);
  const bool last = block.value + 1 == BlocksOf(header_.length);
  if (read.error() != Error::kCorrupt || !last || plain.size() == kBlockSize ||
      excess_length_ <= header_.length)
    return read;
  KF_ASSIGN_OR_RETURN(
      const auto sealed,
      SealedLength(block, plain.size(), BlockBytes(block, excess_length_)));
  return sealed ? OkStatus() : read;
}

void File::CheckBlocks(const std::function<bool(uint64_t)>& proceed,
                       const BadRange& bad) {
  std::shared_lock lock(mutex_);
  const uint64_t length = header_.length, blocks = BlocksOf(length);
  Bytes plain(std::min(kChunk, blocks * kBlockSize));
  for (uint64_t at = 0; at < length;) {
    const uint64_t behind = EndOfHole(header_.holes, at / kBlockSize) * kBlockSize;
    if (behind > at) {
      at = behind;
      continue;
    }
    const uint64_t end =
        BeginOfHole(header_.holes, at / kBlockSize, blocks) * kBlockSize;
    const uint64_t size = std::min({kChunk, length - at, end - at});
    const Status whole =
        ReadBlocks(BlockOf(PlainOffset(at)), MutableBytes(plain).first(size));
    for (uint64_t i = 0; !whole.ok() && i < size; i += kBlockSize) {
      const uint64_t bytes = std::min(kBlockSize, size - i);
      const Status one =
          CheckBlock(BlockOf(PlainOffset(at + i)), MutableBytes(plain).first(bytes));
      if (!one.ok()) bad(at + i, at + i + bytes, one);
    }
    at += size;
    if (!proceed(size)) break;
  }
  if (!plain.empty()) explicit_bzero(plain.data(), plain.size());
}

}  // namespace keyfold
