// States: what a file may hold after the power failed, as a test knows it.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "fs/format/Geometry.h"
#include "kms/base/Bytes.h"

namespace keyfold {

// States holds what each block held at the last Sync and after each change since,
// and each length. All of it lies behind `origin`, where a block begins; what lies in
// front is nobody's.
class States {
 public:
  explicit States(Bytes text, uint64_t origin = 0)
      : origin_(origin), text_(std::move(text)) {
    Synced();
  }

  void Write(uint64_t offset, const Bytes& data) {
    const uint64_t at = offset - origin_, old = text_.size();
    if (at + data.size() > old) text_.resize(at + data.size());
    std::copy(data.begin(), data.end(), text_.begin() + static_cast<long>(at));
    Changed(std::min(at, old), at + data.size());
  }
  void Truncate(uint64_t length) {
    const uint64_t old = text_.size();
    text_.resize(length - origin_);
    least_ = std::min<uint64_t>(least_, text_.size());
    Changed(std::min<uint64_t>(old, text_.size()), text_.size());
  }
  void Zero(uint64_t offset, uint64_t size) {
    const uint64_t end = std::min(offset + size, length());
    if (offset < end) Write(offset, Bytes(end - offset));
  }
  void Synced() {
    held_.clear();
    lengths_.clear();
    least_ = text_.size();
    Changed(0, text_.size());
  }
  // IsNow goes on from what the file was found to hold.
  void IsNow(Bytes text) {
    text_ = std::move(text);
    least_ = std::min<uint64_t>(least_, text_.size());
    Changed(0, text_.size());
  }

  // MayHaveLength allows for an end that was never synced to be missing.
  bool MayHaveLength(uint64_t length) const {
    const uint64_t size = length - origin_;
    if (std::find(lengths_.begin(), lengths_.end(), size) != lengths_.end())
      return true;
    const uint64_t most = *std::max_element(lengths_.begin(), lengths_.end());
    return size >= least_ && size <= most && size % kBlockSize == 0;
  }
  // Held tells whether the block at `offset` held that, at whatever length.
  bool Held(uint64_t offset, const Bytes& bytes) const {
    const auto states = held_.find((offset - origin_) / kBlockSize);
    if (states == held_.end()) return false;
    for (Bytes state : states->second) {
      state.resize(bytes.size());  // a longer file pads its last block
      if (state == bytes) return true;
    }
    return false;
  }
  uint64_t length() const { return origin_ + text_.size(); }
  const Bytes& text() const { return text_; }

 private:
  void Changed(uint64_t begin, uint64_t end) {
    for (uint64_t block = begin / kBlockSize; block < BlocksOf(end); ++block) {
      const auto at = text_.begin() + static_cast<long>(block * kBlockSize);
      const uint64_t size = BlockBytes(BlockNo(block), text_.size());
      held_[block].emplace_back(at, at + static_cast<long>(size));
    }
    lengths_.push_back(text_.size());
  }

  const uint64_t origin_;
  Bytes text_;
  std::map<uint64_t, std::vector<Bytes>> held_;
  std::vector<uint64_t> lengths_;
  uint64_t least_ = 0;  // the shortest since the last Sync
};

}  // namespace keyfold
