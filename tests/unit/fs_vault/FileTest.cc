// Does a file read back what was written, and only that, whatever happens to
// the bytes beneath it?
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <random>

#include "OpenFileTest.h"
#include "fs/vault/File.h"
#include "fs/vault/VaultKeys.h"

namespace keyfold {
namespace {

class FileTest : public OpenFileTest {
 protected:
  Bytes ReadAll() {
    Bytes out(file_->length());
    auto n = file_->Read(0, out);
    EXPECT_TRUE(n.ok()) << n.status().ToString();
    EXPECT_EQ(n.ok() ? *n : 0, out.size());
    return out;
  }

  // Peek reads the backing file itself.
  void Peek(uint64_t at, MutableBytes out) {
    const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    const auto n = ReadAt(fd.get(), static_cast<off_t>(at), out);
    ASSERT_TRUE(n.ok());
    ASSERT_EQ(*n, out.size());
  }
  void Poke(off_t at, ByteView data) {
    const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(WriteAt(fd.get(), at, data).ok());
  }
};

TEST_F(FileTest, BehavesLikeAByteArray) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Bytes model;
  auto pick = [&](uint64_t below) { return random() % below; };
  for (int step = 0; step < 400; ++step) {
    switch (pick(6)) {
      case 0: {
        const uint64_t length = pick(3 << 20);
        ASSERT_TRUE(file_->Truncate(length).ok());
        model.resize(length);
        break;
      }
      case 1: {
        const Status status = Reopen();
        ASSERT_TRUE(status.ok()) << status.ToString();
        break;
      }
      default: {
        const uint64_t at = pick(model.size() + (pick(8) == 0 ? 1 << 20 : 1));
        const Bytes data = RandomBytes(1 + pick(pick(4) == 0 ? 400000 : 9000));
        const Status status = file_->Write(at, data);
        ASSERT_TRUE(status.ok()) << status.ToString();
        if (model.size() < at + data.size()) model.resize(at + data.size());
        std::copy(data.begin(), data.end(), model.begin() + static_cast<long>(at));
      }
    }
    ASSERT_EQ(file_->length(), model.size());
    struct stat st;
    ASSERT_EQ(::stat(path_.c_str(), &st), 0);
    ASSERT_EQ(static_cast<uint64_t>(st.st_size), BackingSize(model.size()));
    const uint64_t from = pick(model.size() + 1);
    Bytes part(pick(300000));
    auto n = file_->Read(from, part);
    ASSERT_TRUE(n.ok()) << n.status().ToString();
    part.resize(*n);
    ASSERT_TRUE(
        std::equal(part.begin(), part.end(), model.begin() + static_cast<long>(from)));
  }
  EXPECT_EQ(ReadAll(), model);
}

TEST_F(FileTest, AZeroedBlockIsDamageNotZeros) {
  ASSERT_TRUE(file_->Write(0, RandomBytes(500000)).ok());
  ASSERT_TRUE(file_->WriteHeader().ok());
  const BlockNo block(40);
  Poke(static_cast<off_t>(DataOffset(block).value), Bytes(kBlockSize));
  Poke(static_cast<off_t>(EntryOffset(block).value), Bytes(kEntrySize));
  ASSERT_TRUE(Reopen().ok());
  Bytes out(kBlockSize);
  EXPECT_EQ(file_->Read(block.value * kBlockSize, out).status().error(),
            Error::kCorrupt);
  EXPECT_TRUE(file_->Read((block.value + 1) * kBlockSize, out).ok());
}

TEST_F(FileTest, CuttingAtABlockIsDamage) {
  ASSERT_TRUE(file_->Write(0, RandomBytes(5 * kBlockSize)).ok());
  ASSERT_TRUE(file_->WriteHeader().ok());
  ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(BackingSize(3 * kBlockSize))),
            0);
  EXPECT_EQ(Reopen().error(), Error::kCorrupt);
}

// What a power failure may have taken is missing, and no more is allowed for.
class CrashTest : public FileTest {
 protected:
  // Three blocks are synced, two more only written.
  void SetUp() override {
    FileTest::SetUp();
    ASSERT_TRUE(
        file_->Write(0, Bytes(text_.begin(), text_.begin() + 3 * kBlockSize)).ok());
    ASSERT_TRUE(file_->Sync(false).ok());
    ASSERT_TRUE(
        file_->Write(3 * kBlockSize, Bytes(text_.begin() + 3 * kBlockSize, text_.end()))
            .ok());
    ASSERT_TRUE(file_->Settle().ok());
  }
  void Cut(uint64_t length) {
    ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(BackingSize(length))), 0);
  }
  const Bytes text_ = RandomBytes(5 * kBlockSize);
};

TEST_F(CrashTest, AnEndThatWasNotSyncedMayBeMissing) {
  Cut(4 * kBlockSize + 17);
  ASSERT_TRUE(Reopen(false).ok());
  EXPECT_EQ(ReadAll(), Bytes(text_.begin(), text_.begin() + 4 * kBlockSize));
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(file_->length(), 4 * kBlockSize);
}

TEST_F(CrashTest, WhatWasSyncedMayNot) {
  Cut(3 * kBlockSize - 1);
  EXPECT_EQ(Reopen(false).error(), Error::kCorrupt);
}

TEST_F(CrashTest, NothingMayAfterTheCheckpointIsClosed) {
  checkpoints_->Next();
  ASSERT_TRUE(checkpoints_->Close().ok());
  Cut(4 * kBlockSize);
  EXPECT_EQ(Reopen(false).error(), Error::kCorrupt);
}

TEST_F(CrashTest, NorWhileItIsOpen) {
  Cut(4 * kBlockSize);
  EXPECT_EQ(Reopen().error(), Error::kCorrupt);
}

TEST_F(FileTest, BlocksCannotBeSwapped) {
  ASSERT_TRUE(file_->Write(0, RandomBytes(4 * kBlockSize)).ok());
  ASSERT_TRUE(file_->WriteHeader().ok());
  auto copy = [&](uint64_t at, size_t size) {
    Bytes bytes(size);
    Peek(at, bytes);
    return bytes;
  };
  for (auto [offset_of, size] :
       {std::pair{&DataOffset, kBlockSize}, {&EntryOffset, kEntrySize}}) {
    const Bytes a = copy(offset_of(BlockNo(1)).value, size);
    const Bytes b = copy(offset_of(BlockNo(2)).value, size);
    Poke(static_cast<off_t>(offset_of(BlockNo(1)).value), b);
    Poke(static_cast<off_t>(offset_of(BlockNo(2)).value), a);
  }
  Bytes out(kBlockSize);
  EXPECT_EQ(file_->Read(kBlockSize, out).status().error(), Error::kCorrupt);
}

TEST_F(FileTest, EveryHeaderByteMatters) {
  ASSERT_TRUE(file_->Write(0, AsBytes("pay slip")).ok());
  ASSERT_TRUE(file_->WriteHeader().ok());
  Bytes header(kHeaderSlotSize);
  Peek(0, header);
  for (size_t i = 0; i < header.size(); ++i) {
    Bytes altered = header;
    altered[i] ^= 1;
    Poke(0, altered);
    Poke(kHeaderSlotSize, altered);
    EXPECT_FALSE(Reopen(false).ok()) << "byte " << i;
    Poke(0, header);
    Poke(kHeaderSlotSize, header);
  }
  EXPECT_TRUE(Reopen(false).ok());
}

TEST_F(FileTest, AnotherKeyIsRefusedByTheCommitment) {
  ASSERT_TRUE(file_->WriteHeader().ok());
  dek_ = RandomSecret(kKeySize);
  EXPECT_EQ(Reopen(false).error(), Error::kCorrupt);
}

TEST_F(FileTest, AppendsAfterTheLastHeaderAreCutOffCleanly) {
  const Bytes data = RandomBytes(100);
  ASSERT_TRUE(file_->Write(0, data).ok());
  ASSERT_TRUE(file_->WriteHeader().ok());
  ASSERT_TRUE(file_->Write(100, RandomBytes(9000)).ok());
  const Status status = Reopen(false);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(ReadAll(), data);
}

TEST_F(FileTest, ATerabyteHoleCostsLittleAndReadsAsZeros) {
  const uint64_t far = uint64_t{1} << 40;
  ASSERT_TRUE(file_->Write(far, AsBytes("end")).ok());
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(file_->length(), far + 3);
  Bytes out(100000, 1);
  auto n = file_->Read(far / 2, out);
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(out, Bytes(out.size()));
  struct stat st;
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_LT(st.st_blocks * 512, 1 << 20);
}

// The daemon may be killed between a block's entry and its data, more than once.
TEST_F(FileTest, ABlockSurvivesBeingCutOffTwice) {
  const Bytes data = RandomBytes(3 * kBlockSize);
  ASSERT_TRUE(file_->Write(0, data).ok());
  ASSERT_TRUE(file_->WriteHeader().ok());
  const off_t at = static_cast<off_t>(DataOffset(BlockNo(1)).value);
  Bytes before(kBlockSize);
  Peek(DataOffset(BlockNo(1)).value, before);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(file_->Write(kBlockSize, RandomBytes(kBlockSize)).ok());
    Poke(at, before);  // the entry arrived, the data did not
    const Status status = Reopen(false);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(ReadAll(), data) << "round " << round;
  }
}

TEST_F(FileTest, TheSealCountOnDiskIsNeverBehind) {
  ASSERT_TRUE(file_->Write(0, RandomBytes(kBlockSize)).ok());
  const uint64_t bound = file_->header().seals_in_epoch;
  ASSERT_TRUE(Reopen(false).ok());
  EXPECT_EQ(file_->header().seals_in_epoch, bound);
  // What was reserved counts as used, so the next write reserves anew.
  ASSERT_TRUE(file_->Write(0, RandomBytes(kBlockSize)).ok());
  EXPECT_EQ(file_->header().seals_in_epoch, bound + 1 + kSealReserve);
  ASSERT_TRUE(Reopen(false).ok());
  EXPECT_EQ(file_->header().seals_in_epoch, bound + 1 + kSealReserve);
}

TEST_F(FileTest, AHeaderThatAuthenticatesAgainOpensAgain) {
  ASSERT_TRUE(file_->WriteHeader().ok());
  Bytes header(2 * kHeaderSlotSize);
  Peek(0, header);
  Bytes altered = header;
  altered[500] ^= 1;
  altered[500 + kHeaderSlotSize] ^= 1;
  Poke(0, altered);
  EXPECT_EQ(Reopen(false).error(), Error::kCorrupt);
  Poke(0, header);
  const auto claimed = file_->Inspect();
  ASSERT_TRUE(claimed.ok());
  EXPECT_TRUE(file_->Unlock(DataKey(CopySecret(dek_)), *claimed).ok());
}

TEST_F(FileTest, StoringWhatWaitsMovesNoTime) {
  const Bytes block = RandomBytes(kBlockSize);
  ASSERT_TRUE(file_->Write(0, block).ok());
  ASSERT_TRUE(file_->Sync(false).ok());
  for (auto store : {&File::Flush, &File::Settle}) {
    ASSERT_TRUE(file_->Write(0, block).ok());
    const timespec times[2] = {{1000, 0}, {2000, 0}};
    const auto set = [&] {
      return ::utimensat(AT_FDCWD, path_.c_str(), times, 0) == 0
                 ? OkStatus()
                 : Status::FromErrno(errno, "utimens");
    };
    ASSERT_TRUE(file_->Hold(set).ok());
    ASSERT_TRUE((*file_.*store)().ok());
    struct stat st;
    ASSERT_EQ(::stat(path_.c_str(), &st), 0);
    EXPECT_EQ(st.st_mtim.tv_sec, 2000);
    ASSERT_TRUE(Reopen().ok());
  }
}

TEST_F(FileTest, AWipedFileGivesNothing) {
  ASSERT_TRUE(file_->Write(0, AsBytes("secret")).ok());
  file_->Wipe();
  Bytes out(6);
  EXPECT_FALSE(file_->Read(0, out).ok());
  EXPECT_FALSE(file_->Write(0, out).ok());
}

}  // namespace
}  // namespace keyfold
