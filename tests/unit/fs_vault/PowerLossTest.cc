// After the power failed, does each block read as one of the states it had since the
// last Sync, and is nothing missing but an end that was never synced?
#include <gtest/gtest.h>

#include <random>

#include "BackingCopy.h"
#include "Seeds.h"
#include "States.h"
#include "fs/backend/VolatileDataFile.h"

namespace keyfold {
namespace {

constexpr uint64_t kLength = 100 * kBlockSize + 1000;

class PowerLossTest : public testing::TestWithParam<unsigned> {
 protected:
  PowerLossTest() {
    copy_ = std::make_unique<BackingCopy>(
        [this](File& file) { return file.Write(0, base_); });
    Open();
  }
  uint64_t Pick(uint64_t below) { return random_() % below; }
  void Write(uint64_t offset, size_t size) {
    const Bytes data = RandomBytes(size);
    const Status written = file_->Write(offset, data);
    ASSERT_TRUE(written.ok()) << written.ToString();
    states_.Write(offset, data);
    Later();
  }
  // What the daemon does by itself, and programs ask for.
  void Later() {
    if (Pick(3) == 0) {
      ASSERT_TRUE(file_->WriteHeader().ok());
    }
    if (Pick(3) == 0) {
      ASSERT_TRUE(file_->Flush().ok());
    }
    if (Pick(8) == 0) {
      ASSERT_TRUE(file_->Settle().ok());
    }
    if (Pick(6) == 0) {
      ASSERT_TRUE(file_->Sync(Pick(2) == 0).ok());
      states_.Synced();
      EXPECT_EQ(disk_->unsynced_pages(), 0u);
    }
  }
  void PowerOffAndOn(unsigned again = 0) {
    ASSERT_TRUE(disk_->LosePower(GetParam() + again).ok());
    file_.reset();
    copy_->Crash();
    Open();
  }
  void Open() {
    auto file = copy_->Open([this](std::unique_ptr<DataFile> data) {
      auto disk = std::make_unique<VolatileDataFile>(std::move(data));
      disk_ = disk.get();
      return disk;
    });
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    file_ = *file;
  }
  void Check() {
    const uint64_t length = file_->length();
    ASSERT_TRUE(states_.MayHaveLength(length)) << length;
    for (uint64_t block = 0; block < BlocksOf(length); ++block) {
      Bytes held(BlockBytes(BlockNo(block), length));
      const auto n = file_->Read(block * kBlockSize, held);
      ASSERT_TRUE(n.ok()) << n.status().ToString();
      ASSERT_TRUE(states_.Held(block * kBlockSize, held))
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

TEST_P(PowerLossTest, OverwritingLeavesOldOrNew) {
  for (int i = 0; i < 8; ++i) {
    const uint64_t offset = Pick(kLength - 1);
    const size_t size = 1 + Pick(std::min<uint64_t>(kLength - offset, 100000));
    ASSERT_NO_FATAL_FAILURE(Write(offset, size));
  }
  ASSERT_NO_FATAL_FAILURE(PowerOffAndOn());
  EXPECT_EQ(file_->length(), kLength);
  Check();
}

TEST_P(PowerLossTest, GrowingLeavesWhatWasSynced) {
  for (int i = 0; i < 5; ++i)
    ASSERT_NO_FATAL_FAILURE(Write(states_.length() - Pick(2000), 1 + Pick(150000)));
  ASSERT_NO_FATAL_FAILURE(PowerOffAndOn());
  Check();
}

TEST_P(PowerLossTest, AnythingLeavesOneOfTheStates) {
  for (int i = 0; i < 12; ++i) {
    const uint64_t length = states_.length();
    switch (Pick(7)) {
      case 0: {
        const uint64_t to = Pick(2) == 0 ? Pick(length + 1) : length + Pick(700000);
        ASSERT_TRUE(file_->Truncate(to).ok());
        states_.Truncate(to);
        ASSERT_NO_FATAL_FAILURE(Later());
        break;
      }
      case 1: {
        const uint64_t offset = Pick(length + 1), size = 1 + Pick(400000);
        ASSERT_TRUE(file_->Zero(offset, size, Pick(2) == 0).ok());
        states_.Zero(offset, size);
        ASSERT_NO_FATAL_FAILURE(Later());
        break;
      }
      case 2:
        ASSERT_TRUE(BackingCopy::BeginReencrypt(*file_).ok());
        ASSERT_NO_FATAL_FAILURE(Later());
        break;
      case 3:
        ASSERT_TRUE(file_->Reencrypt(1 + Pick(60 * kBlockSize)).ok());
        ASSERT_NO_FATAL_FAILURE(Later());
        break;
      default:
        ASSERT_NO_FATAL_FAILURE(Write(Pick(length + 5000), 1 + Pick(60000)));
    }
  }
  ASSERT_NO_FATAL_FAILURE(PowerOffAndOn());
  ASSERT_NO_FATAL_FAILURE(Check());
  // Opening puts things right, which the power may cut short as well.
  ASSERT_NO_FATAL_FAILURE(PowerOffAndOn(1));
  ASSERT_NO_FATAL_FAILURE(Check());
  // A file that was encrypted anew in part goes on to be.
  ASSERT_TRUE(BackingCopy::ReencryptAll(*file_).ok());
  Check();
}

TEST_P(PowerLossTest, WhatWasSyncedIsThereWhole) {
  for (int i = 0; i < 3; ++i)
    ASSERT_NO_FATAL_FAILURE(Write(states_.length() - Pick(50000), 1 + Pick(100000)));
  ASSERT_TRUE(file_->Sync(false).ok());
  const Bytes before = Contents(*file_).value();
  ASSERT_NO_FATAL_FAILURE(PowerOffAndOn());
  EXPECT_EQ(Contents(*file_).value(), before);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerLossTest, testing::ValuesIn(Seeds(400)),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace keyfold
