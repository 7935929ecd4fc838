// After the power failed, is there what Sync confirmed; and does what was being
// written since read as one of the states it had, or fail, and nothing else?
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "BackingCopy.h"
#include "fs/backend/VolatileDataFile.h"

namespace keyfold {
namespace {

constexpr uint64_t kLength = 100 * kBlockSize + 1000;

// States holds what each block held at the last Sync and after each write since,
// and each length.
class States {
 public:
  explicit States(Bytes text) : text_(std::move(text)) { Synced(); }
  void Write(uint64_t offset, const Bytes& data) {
    if (offset + data.size() > text_.size()) text_.resize(offset + data.size());
    std::copy(data.begin(), data.end(), text_.begin() + static_cast<long>(offset));
    for (uint64_t block = offset / kBlockSize; block < BlocksOf(offset + data.size());
         ++block)
      held_[block].push_back(Block(block));
    lengths_.push_back(text_.size());
  }
  void Synced() {
    held_.clear();
    lengths_ = {text_.size()};
    synced_blocks_ = BlocksOf(text_.size());
    for (uint64_t block = 0; block < BlocksOf(text_.size()); ++block)
      held_[block] = {Block(block)};
  }
  bool HadLength(uint64_t length) const {
    return std::find(lengths_.begin(), lengths_.end(), length) != lengths_.end();
  }
  // Changed tells whether a block was written since the last Sync.
  bool Changed(uint64_t block) const {
    return block >= synced_blocks_ || held_.at(block).size() > 1;
  }
  bool Held(uint64_t block, const Bytes& bytes) const {
    for (Bytes state : held_.at(block)) {
      state.resize(bytes.size());  // a longer file pads its last block
      if (state == bytes) return true;
    }
    return false;
  }
  uint64_t length() const { return text_.size(); }

 private:
  Bytes Block(uint64_t block) const {
    const auto at = text_.begin() + static_cast<long>(block * kBlockSize);
    return Bytes(at, at + static_cast<long>(BlockBytes(BlockNo(block), text_.size())));
  }
  Bytes text_;
  std::map<uint64_t, std::vector<Bytes>> held_;
  std::vector<uint64_t> lengths_;
  uint64_t synced_blocks_ = 0;
};

class PowerLossTest : public testing::TestWithParam<unsigned> {
 protected:
  PowerLossTest() {
    copy_ = std::make_unique<BackingCopy>(
        [this](File& file) { return file.Write(0, base_); });
    auto file = copy_->Open([this](std::unique_ptr<DataFile> data) {
      auto disk = std::make_unique<VolatileDataFile>(std::move(data));
      disk_ = disk.get();
      return disk;
    });
    EXPECT_TRUE(file.ok());
    file_ = *file;
  }
  uint64_t Pick(uint64_t below) { return random_() % below; }
  void Write(uint64_t offset, size_t size) {
    const Bytes data = RandomBytes(size);
    const Status written = file_->Write(offset, data);
    ASSERT_TRUE(written.ok()) << written.ToString();
    states_.Write(offset, data);
    // The daemon writes headers back every few seconds.
    if (Pick(3) == 0) {
      ASSERT_TRUE(file_->WriteHeader().ok());
    }
    if (Pick(6) == 0) {
      ASSERT_TRUE(file_->Sync(Pick(2) == 0).ok());
      states_.Synced();
      EXPECT_EQ(disk_->unsynced_pages(), 0u);
    }
  }
  Result<std::shared_ptr<File>> PowerOffAndOn() {
    EXPECT_TRUE(disk_->LosePower(GetParam()).ok());
    file_.reset();
    return copy_->Open();
  }
  void CheckBlocks(File& file) {
    const uint64_t length = file.length();
    ASSERT_TRUE(states_.HadLength(length)) << length;
    for (uint64_t block = 0; block < BlocksOf(length); ++block) {
      Bytes held(BlockBytes(BlockNo(block), length));
      const auto n = file.Read(block * kBlockSize, held);
      if (!n.ok()) {
        ASSERT_EQ(n.status().error(), Error::kCorrupt) << n.status().ToString();
        ASSERT_TRUE(states_.Changed(block)) << "block " << block << " was synced";
        continue;
      }
      ASSERT_TRUE(states_.Held(block, held))
          << "block " << block << " is another thing";
    }
  }

  std::mt19937 random_{GetParam()};
  const Bytes base_ = RandomBytes(kLength);
  States states_{base_};
  std::unique_ptr<BackingCopy> copy_;
  std::shared_ptr<File> file_;
  VolatileDataFile* disk_ = nullptr;
};

TEST_P(PowerLossTest, OverwritingRisksOnlyTheBlocksOverwritten) {
  for (int i = 0; i < 8; ++i) {
    const uint64_t offset = Pick(kLength - 1);
    const size_t size = 1 + Pick(std::min<uint64_t>(kLength - offset, 100000));
    ASSERT_NO_FATAL_FAILURE(Write(offset, size));
  }
  const auto file = PowerOffAndOn();
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  CheckBlocks(**file);
}

// A file that grew and was not synced may not open (SECURITY.md); one that opens
// holds nothing that was never written.
TEST_P(PowerLossTest, GrowingGivesNothingThatWasNotWritten) {
  for (int i = 0; i < 5; ++i)
    ASSERT_NO_FATAL_FAILURE(Write(states_.length() - Pick(2000), 1 + Pick(150000)));
  const auto file = PowerOffAndOn();
  if (!file.ok()) {
    ASSERT_EQ(file.status().error(), Error::kCorrupt) << file.status().ToString();
    return;
  }
  CheckBlocks(**file);
}

TEST_P(PowerLossTest, WhatWasSyncedIsThereWhole) {
  for (int i = 0; i < 3; ++i)
    ASSERT_NO_FATAL_FAILURE(Write(states_.length() - Pick(50000), 1 + Pick(100000)));
  ASSERT_TRUE(file_->Sync(false).ok());
  states_.Synced();
  const Bytes before = Contents(*file_).value();
  const auto file = PowerOffAndOn();
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(Contents(**file).value(), before);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerLossTest, testing::Range(0u, 60u));

}  // namespace
}  // namespace keyfold
