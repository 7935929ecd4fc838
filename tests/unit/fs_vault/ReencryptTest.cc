// Is a file whole while and after it gets another data key, whoever writes meanwhile
// and wherever that was cut off; and does the former key open nothing of it any more?
#include <errno.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "OpenFileTest.h"

namespace keyfold {
namespace {

constexpr uint64_t kLength = 150 * kBlockSize + 1000;

class ReencryptTest : public OpenFileTest {
 protected:
  void SetUp() override {
    OpenFileTest::SetUp();
    text_ = RandomBytes(kLength);
    ASSERT_TRUE(file_->Write(0, text_).ok());
    ASSERT_TRUE(file_->Sync(false).ok());
    ASSERT_TRUE(file_->Settle().ok());
  }
  Status Begin() {
    fresh_ = RandomSecret(kKeySize);
    return file_->BeginReencrypt(
        {DataKey(CopySecret(fresh_)), Bytes(97, 0x77), file_->header().key_id});
  }
  // Kill drops the file as SIGKILL would, and opens it with its new key.
  void Kill() {
    dek_ = CopySecret(fresh_);
    const Status opened = Reopen(false);
    ASSERT_TRUE(opened.ok()) << opened.ToString();
  }
  void Finish() {
    for (int steps = 0; steps < 1000; ++steps) {
      const auto progress = file_->Reencrypt(16 * kBlockSize);
      ASSERT_TRUE(progress.ok()) << progress.status().ToString();
      if (progress->finished) return;
    }
    FAIL() << "it does not end";
  }
  Bytes Contents() {
    Bytes out(file_->length());
    EXPECT_EQ(file_->Read(0, out).value(), out.size());
    return out;
  }
  Bytes Raw() {
    const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat st;
    EXPECT_EQ(::fstat(fd.get(), &st), 0);
    Bytes raw(static_cast<size_t>(st.st_size));
    EXPECT_EQ(ReadAt(fd.get(), 0, raw).value(), raw.size());
    return raw;
  }
  void PutHeader(const Bytes& raw) {
    const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(
        WriteAt(fd.get(), 0, ByteView(raw).first(kHeaderSlots * kHeaderSlotSize)).ok());
  }

  Bytes text_;
  SecretBytes fresh_;
};

TEST_F(ReencryptTest, EveryBlockIsAnotherAndReadsAsBefore) {
  const Bytes before = Raw();
  const auto commitment = file_->header().commitment;
  ASSERT_TRUE(Begin().ok());
  EXPECT_EQ(Contents(), text_);
  Finish();
  EXPECT_EQ(Contents(), text_);
  EXPECT_NE(file_->header().commitment, commitment);
  EXPECT_FALSE(file_->header().former.has_value());
  Kill();
  EXPECT_EQ(Contents(), text_);
  const Bytes after = Raw();
  ASSERT_EQ(before.size(), after.size());
  for (uint64_t block = 0; block < BlocksOf(kLength); ++block) {
    const auto at = static_cast<long>(DataOffset(BlockNo(block)).value);
    EXPECT_FALSE(
        std::equal(before.begin() + at, before.begin() + at + 1000, after.begin() + at))
        << block;
  }
}

TEST_F(ReencryptTest, TheFormerHeaderOpensNoBlock) {
  const Bytes before = Raw();
  ASSERT_TRUE(Begin().ok());
  Finish();
  PutHeader(before);
  ASSERT_TRUE(Reopen(false).ok());  // under the former key
  for (uint64_t block = 0; block < BlocksOf(kLength); ++block) {
    Bytes out(100);
    EXPECT_EQ(file_->Read(block * kBlockSize, out).status().error(), Error::kCorrupt)
        << block;
  }
}

TEST_F(ReencryptTest, GoesOnWhereverItWasKilled) {
  for (int steps = 0; steps < 12; ++steps) {
    SCOPED_TRACE(steps);
    ASSERT_TRUE(Begin().ok());
    for (int i = 0; i < steps; ++i) ASSERT_TRUE(file_->Reencrypt(15 * kBlockSize).ok());
    ASSERT_NO_FATAL_FAILURE(Kill());
    EXPECT_EQ(Contents(), text_);
    EXPECT_EQ(file_->header().former.has_value(), steps < 11);
    ASSERT_TRUE(Begin().ok());  // goes on with the key there is
    fresh_ = CopySecret(steps < 11 ? dek_ : fresh_);
    ASSERT_NO_FATAL_FAILURE(Finish());
    EXPECT_EQ(Contents(), text_);
    ASSERT_NO_FATAL_FAILURE(Kill());
    EXPECT_FALSE(file_->header().former.has_value());
    EXPECT_EQ(Contents(), text_);
  }
}

TEST_F(ReencryptTest, WhatWasDoneIsNotDoneAgain) {
  ASSERT_TRUE(Begin().ok());
  ASSERT_TRUE(file_->Reencrypt(100 * kBlockSize).ok());
  ASSERT_NO_FATAL_FAILURE(Kill());
  const Bytes before = Raw();
  Finish();
  const Bytes after = Raw();
  const auto begin = static_cast<long>(DataOffset(BlockNo(0)).value);
  const auto middle = static_cast<long>(DataOffset(BlockNo(31)).value);
  EXPECT_TRUE(std::equal(before.begin() + begin, before.begin() + middle,
                         after.begin() + begin));
  EXPECT_FALSE(std::equal(before.end() - 1000, before.end(), after.end() - 1000));
}

TEST_F(ReencryptTest, HolesAndZerosStay) {
  ASSERT_TRUE(file_->Zero(3 * kBlockSize, 5 * kBlockSize, true).ok());
  ASSERT_TRUE(file_->Truncate(FirstBlockOf(GroupNo(9)).value * kBlockSize).ok());
  ASSERT_TRUE(file_->Write(FirstBlockOf(GroupNo(8)).value * kBlockSize, text_).ok());
  const Bytes expected = Contents();
  const HoleList holes = file_->header().holes;
  ASSERT_FALSE(holes.ranges().empty());
  ASSERT_TRUE(Begin().ok());
  Finish();
  EXPECT_EQ(file_->header().holes, holes);
  EXPECT_EQ(file_->Seek(0, File::Seeking::kHole).value(), 3 * kBlockSize);
  Kill();
  EXPECT_EQ(Contents(), expected);
}

TEST_F(ReencryptTest, AnEmptyFileGetsAnotherKeyToo) {
  ASSERT_TRUE(file_->Truncate(0).ok());
  ASSERT_TRUE(Begin().ok());
  EXPECT_TRUE(file_->Reencrypt(1).value().finished);
  ASSERT_TRUE(file_->Write(0, text_).ok());
  ASSERT_TRUE(file_->Sync(false).ok());
  Kill();
  EXPECT_EQ(Contents(), text_);
}

TEST_F(ReencryptTest, TimesAreKept) {
  struct stat before, after;
  ASSERT_EQ(::stat(path_.c_str(), &before), 0);
  ASSERT_TRUE(Begin().ok());
  Finish();
  ASSERT_EQ(::stat(path_.c_str(), &after), 0);
  EXPECT_EQ(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
  EXPECT_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

TEST_F(ReencryptTest, AnotherCmkMeanwhileIsNotUndone) {
  const std::string former = file_->header().key_id;
  ASSERT_TRUE(file_->Rewrap(file_->header().blob, RandomUuid(), Bytes(97, 1)).ok());
  const Status begun =
      file_->BeginReencrypt({DataKey(RandomSecret(kKeySize)), Bytes(97, 2), former});
  EXPECT_EQ(begun.sys_errno(), ESTALE);
  EXPECT_FALSE(file_->header().former.has_value());
}

TEST_F(ReencryptTest, AWrapOfTheFormerKeyIsNotPutIn) {
  const Bytes former = file_->header().blob;
  ASSERT_TRUE(Begin().ok());
  const Bytes begun = file_->header().blob;
  EXPECT_EQ(file_->Rewrap(former, RandomUuid(), Bytes(97, 1)).sys_errno(), ESTALE);
  EXPECT_EQ(file_->header().blob, begun);
  Finish();
}

TEST_F(ReencryptTest, ADamagedBlockKeepsBothKeys) {
  const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(WriteAt(fd.get(), static_cast<off_t>(DataOffset(BlockNo(77)).value),
                      Bytes{1, 2, 3})
                  .ok());
  ASSERT_TRUE(Begin().ok());
  Result<File::ReencryptProgress> progress = File::ReencryptProgress();
  while (progress.ok() && !progress->finished)
    progress = file_->Reencrypt(10 * kBlockSize);
  EXPECT_EQ(progress.status().error(), Error::kCorrupt);
  Kill();
  EXPECT_TRUE(file_->header().former.has_value());
  Bytes out(kBlockSize);
  EXPECT_TRUE(file_->Read(76 * kBlockSize, out).ok());
  EXPECT_TRUE(file_->Read(149 * kBlockSize, out).ok());
}

TEST_F(ReencryptTest, WritesOfOthersAreNotLost) {
  ASSERT_TRUE(Begin().ok());
  std::atomic<bool> ended{false};
  std::thread writer([&] {
    std::mt19937 random(7);
    for (int i = 0; !ended || i < 500; ++i) {
      const uint64_t at = random() % (kLength - 9000);
      const Bytes bytes(1 + random() % 9000, static_cast<uint8_t>(i));
      std::copy(bytes.begin(), bytes.end(), text_.begin() + static_cast<long>(at));
      ASSERT_TRUE(file_->Write(at, bytes).ok());
      if (i % 50 == 0) {
        ASSERT_TRUE(file_->Sync(true).ok());
      }
    }
  });
  for (;;) {
    const auto progress = file_->Reencrypt(3 * kBlockSize);
    EXPECT_TRUE(progress.ok());
    if (!progress.ok() || progress->finished) break;
  }
  ended = true;
  writer.join();
  EXPECT_EQ(Contents(), text_);
  ASSERT_TRUE(file_->Sync(false).ok());
  Kill();
  EXPECT_EQ(Contents(), text_);
}

// A header that tells of a former key it was not given is refused.
TEST_F(ReencryptTest, AFormerKeyIsBoundToItsFile) {
  ASSERT_TRUE(Begin().ok());
  ASSERT_TRUE(file_->Sync(false).ok());
  Bytes raw = Raw();
  for (size_t slot = 0; slot < kHeaderSlots; ++slot)
    raw[slot * kHeaderSlotSize + 880] ^= 1;
  PutHeader(raw);
  dek_ = CopySecret(fresh_);
  EXPECT_EQ(Reopen(false).error(), Error::kCorrupt);
}

TEST_F(ReencryptTest, RefreshReachesDiskWithTheNextHeader) {
  const Bytes former = file_->header().blob;
  file_->Refresh(former, Bytes(97, 9));
  file_->Refresh(former, Bytes(97, 8));  // it is that no more
  ASSERT_TRUE(file_->WriteHeader().ok());
  ASSERT_TRUE(Reopen(false).ok());
  EXPECT_EQ(file_->header().blob, Bytes(97, 9));
}

}  // namespace
}  // namespace keyfold
