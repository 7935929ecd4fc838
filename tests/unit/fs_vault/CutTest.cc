// Does truncating to smaller keep what is synced in front of the cut, wherever it ends?
#include <errno.h>
#include <gtest/gtest.h>

#include "BackingCopy.h"
#include "fs/backend/FaultyDataFile.h"

namespace keyfold {
namespace {

// At the beginning, and behind what is put right when the file is opened.
constexpr uint64_t kFirstBlocks[] = {0, (65 << 20) / kBlockSize};
constexpr uint64_t kBlocks = 10, kKept = 5 * kBlockSize + 100;

class CutTest : public testing::TestWithParam<uint64_t> {
 protected:
  // A file whose blocks are holes of their own.
  CutTest()
      : copy_([this](File& file) {
          KF_RETURN_IF_ERROR(file.Write(at(), RandomBytes(kBlocks * kBlockSize)));
          return file.Zero(at(), (kBlocks - 1) * kBlockSize, false);
        }) {}
  uint64_t at() const { return GetParam() * kBlockSize; }
  void Open() {
    file_.reset();
    const auto file = copy_.Open([this](std::unique_ptr<DataFile> data) {
      auto faulty = std::make_unique<FaultyDataFile>(std::move(data));
      disk_ = faulty.get();
      return faulty;
    });
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    file_ = *file;
  }
  Bytes Kept() {
    Bytes kept(kKept);
    const auto n = file_->Read(at(), kept);
    EXPECT_TRUE(n.ok() && *n == kKept) << n.status().ToString();
    return kept;
  }

  BackingCopy copy_;
  std::shared_ptr<File> file_;
  FaultyDataFile* disk_ = nullptr;  // the file's
};

// While the header has the flag, the entries' second seals are those of the holes.
TEST_P(CutTest, WhatFillsHolesIsNoHoleAgainWhenTheDiskDies) {
  const Bytes text = RandomBytes(kBlocks * kBlockSize);
  const Bytes kept(text.begin(), text.begin() + kKept);
  for (uint64_t call = 1;; ++call) {
    SCOPED_TRACE("from call " + std::to_string(call));
    copy_.Restore(copy_.original());
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_TRUE(file_->Write(at(), text).ok());
    ASSERT_TRUE(file_->Sync(false).ok());
    disk_->InjectFault(Fault{call, EIO, false, true});
    const Status cut = file_->Truncate(at() + kKept);
    copy_.Crash();
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_TRUE(Kept() == kept);
    // Opening has put it right for good.
    ASSERT_TRUE(file_->Settle().ok());
    copy_.Crash();
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_TRUE(Kept() == kept);
    if (cut.ok()) break;
    ASSERT_EQ(cut.sys_errno(), EIO);
  }
}

TEST_P(CutTest, AFullDiskHasRoomForWhatIsShorter) {
  ASSERT_NO_FATAL_FAILURE(Open());
  const Bytes text = RandomBytes(kBlocks * kBlockSize);
  ASSERT_TRUE(file_->Write(at(), text).ok());
  // Of what waits to be stored there is no room for what is cut.
  disk_->SetCapacity(BackingSize(at() + BlocksOf(kKept) * kBlockSize));
  const Status cut = file_->Truncate(at() + kKept);
  ASSERT_TRUE(cut.ok()) << cut.ToString();
  copy_.Crash();
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(file_->length(), at() + kKept);
  EXPECT_TRUE(Kept() == Bytes(text.begin(), text.begin() + kKept));
}

TEST_P(CutTest, AFullDiskLetsAFileEndInAHole) {
  ASSERT_NO_FATAL_FAILURE(Open());
  disk_->SetCapacity(DataOffset(BlockNo(GetParam())).value);
  const Status cut = file_->Truncate(at() + kKept);
  ASSERT_TRUE(cut.ok()) << cut.ToString();
  EXPECT_TRUE(Kept() == Bytes(kKept));
  ASSERT_TRUE(file_->Truncate(at() + kKept + 50).ok());
  EXPECT_TRUE(Kept() == Bytes(kKept));
}

INSTANTIATE_TEST_SUITE_P(Blocks, CutTest, testing::ValuesIn(kFirstBlocks));

}  // namespace
}  // namespace keyfold
