// Are holes zeros because the file says so, and only then; does space go back?
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

class FileSpaceTest : public OpenFileTest {
 protected:
  Bytes Read(uint64_t at, size_t size) {
    Bytes out(size);
    auto n = file_->Read(at, out);
    EXPECT_TRUE(n.ok()) << n.status().ToString();
    out.resize(n.ok() ? *n : 0);
    return out;
  }
  Error ReadError(uint64_t at) {
    Bytes out(1);
    return file_->Read(at, out).status().error();
  }
  void ZeroOnDisk(uint64_t at, size_t size) {
    const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(WriteAt(fd.get(), static_cast<off_t>(at), Bytes(size)).ok());
  }
  uint64_t Space() {
    struct stat st;
    EXPECT_EQ(::stat(path_.c_str(), &st), 0);
    return static_cast<uint64_t>(st.st_blocks) * 512;
  }
};

TEST_F(FileSpaceTest, ZeroedRangesReadAsZerosAndNothingElseChanges) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto pick = [&](uint64_t below) { return random() % below; };
  for (int round = 0; round < 60; ++round) {
    Bytes model = RandomBytes(1 + pick(2 << 20));
    ASSERT_TRUE(file_->Truncate(0).ok());
    ASSERT_TRUE(file_->Write(0, model).ok());
    ASSERT_TRUE(file_->WriteHeader().ok());
    const bool release = pick(2) == 0;
    for (int i = 0; i < 3; ++i) {
      uint64_t at = pick(model.size() + 10);
      uint64_t size = 1 + pick(pick(3) == 0 ? 9000 : 1 << 20);
      if (pick(2) == 0) at = at / kBlockSize * kBlockSize;
      if (pick(2) == 0) size = (size + kBlockSize) / kBlockSize * kBlockSize;
      ASSERT_TRUE(file_->Zero(at, size, release).ok());
      const uint64_t end = std::min<uint64_t>(at + size, model.size());
      for (uint64_t b = at; b < end; ++b) model[b] = 0;
      ASSERT_EQ(file_->length(), model.size());
    }
    ASSERT_EQ(Read(0, model.size()), model);
    // What was released is so for good, even if the daemon is killed.
    const Status reopened = Reopen(!release);
    ASSERT_TRUE(reopened.ok()) << reopened.ToString();
    ASSERT_EQ(Read(0, file_->length()), model);
  }
}

TEST_F(FileSpaceTest, ReleasedGroupsTakeNoSpace) {
  ASSERT_TRUE(file_->Write(0, RandomBytes(4 << 20)).ok());
  ASSERT_TRUE(file_->Sync(false).ok());
  const uint64_t before = Space();
  ASSERT_TRUE(file_->Zero(kFirstGroupPlain, 8 * kGroupPlain, true).ok());
  ASSERT_TRUE(file_->Sync(false).ok());
  EXPECT_LE(Space(), before - 8 * kGroupSpan);
  EXPECT_EQ(file_->header().holes.ranges(), (std::vector<HoleRange>{{GroupNo(1), 8}}));
}

TEST_F(FileSpaceTest, ManyHolesFitTheHeader) {
  Bytes model = RandomBytes(kFirstGroupPlain + 80 * kGroupPlain);
  ASSERT_TRUE(file_->Write(0, model).ok());
  for (uint64_t group = 0; group < 40; ++group) {
    const uint64_t at = kFirstGroupPlain + 2 * group * kGroupPlain;
    ASSERT_TRUE(file_->Zero(at, kGroupPlain, true).ok());
    std::fill_n(model.begin() + static_cast<ptrdiff_t>(at), kGroupPlain, uint8_t{0});
  }
  EXPECT_LE(file_->header().holes.ranges().size(), kMaxHoles);
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Read(0, model.size()), model);
}

TEST_F(FileSpaceTest, AWriteIntoAHoleOfAFullListIsKept) {
  // As many holes of three groups as the list takes, a group of data between two.
  constexpr uint64_t kStride = 4 * kGroupPlain;
  Bytes model = RandomBytes(kFirstGroupPlain + kMaxHoles * kStride);
  ASSERT_TRUE(file_->Write(0, model).ok());
  for (uint64_t hole = 0; hole < kMaxHoles; ++hole) {
    const uint64_t at = kFirstGroupPlain + hole * kStride;
    ASSERT_TRUE(file_->Zero(at, 3 * kGroupPlain, true).ok());
    std::fill_n(model.begin() + static_cast<ptrdiff_t>(at), 3 * kGroupPlain,
                uint8_t{0});
  }
  ASSERT_TRUE(file_->header().holes.full());
  for (uint64_t hole = 0; hole < kMaxHoles; ++hole) {
    const uint64_t at = kFirstGroupPlain + hole * kStride + kGroupPlain;
    const Bytes data = RandomBytes(kGroupPlain);
    ASSERT_TRUE(file_->Write(at, data).ok());
    std::copy(data.begin(), data.end(), model.begin() + static_cast<ptrdiff_t>(at));
    ASSERT_EQ(Read(at, kGroupPlain), data) << hole;
  }
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Read(0, model.size()), model);
}

TEST_F(FileSpaceTest, AZeroedGroupWrittenAnewBeforeTheHeaderOpensAfterAKill) {
  const Bytes model = RandomBytes(kFirstGroupPlain + 3 * kGroupPlain);
  ASSERT_TRUE(file_->Write(0, model).ok());
  ASSERT_TRUE(file_->WriteHeader().ok());
  ASSERT_TRUE(file_->Zero(kFirstGroupPlain, 2 * kGroupPlain, false).ok());
  ASSERT_TRUE(file_->Write(kFirstGroupPlain, Bytes(kGroupPlain, 7)).ok());
  ASSERT_TRUE(Reopen(false).ok());
  const Bytes got = Read(kFirstGroupPlain, kGroupPlain);
  EXPECT_TRUE(got == Bytes(kGroupPlain, 7) || got == Bytes(kGroupPlain, 0));
}

TEST_F(FileSpaceTest, AMadeUpEpochOpensNothing) {
  ASSERT_TRUE(file_->Write(0, Bytes(10, 7)).ok());
  ASSERT_TRUE(file_->WriteHeader().ok());
  const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  std::array<uint8_t, kEntrySize> raw;
  ASSERT_TRUE(ReadAt(fd.get(), kFirstEntryOffset, raw).ok());
  BlockEntry entry = BlockEntry::Parse(raw);
  entry.seals[0].epoch = 7;
  entry.seals[0].hole = true;
  entry.Serialize(raw);
  ASSERT_TRUE(WriteAt(fd.get(), kFirstEntryOffset, raw).ok());
  EXPECT_EQ(ReadError(0), Error::kCorrupt);
  EXPECT_EQ(file_->Seek(0, File::Seeking::kData).value(), 0u);
}

TEST_F(FileSpaceTest, ReservedSpaceIsThereAndReadsAsZeros) {
  ASSERT_TRUE(file_->Write(0, Bytes(10, 7)).ok());
  ASSERT_TRUE(file_->Reserve(5, 1 << 20, true).ok());
  EXPECT_EQ(file_->length(), 10u);
  EXPECT_GE(Space(), uint64_t{1} << 20);
  ASSERT_TRUE(file_->Reserve(0, 1 << 20, false).ok());
  EXPECT_EQ(file_->length(), uint64_t{1} << 20);
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Read(5, 10), (Bytes{7, 7, 7, 7, 7, 0, 0, 0, 0, 0}));
  EXPECT_EQ(file_->Reserve(kMaxFileSize, 1, false).sys_errno(), EFBIG);
}

TEST_F(FileSpaceTest, SeeksWhatIsAuthenticated) {
  ASSERT_TRUE(file_->Truncate(1 << 20).ok());
  ASSERT_TRUE(file_->Write(300000, RandomBytes(1)).ok());
  ASSERT_TRUE(file_->Write(16384, RandomBytes(4096)).ok());
  const uint64_t block = 300000 / kBlockSize * kBlockSize;
  using Seeking = File::Seeking;
  EXPECT_EQ(file_->Seek(0, Seeking::kHole).value(), 0u);
  EXPECT_EQ(file_->Seek(0, Seeking::kData).value(), 16384u);
  EXPECT_EQ(file_->Seek(16385, Seeking::kData).value(), 16385u);
  EXPECT_EQ(file_->Seek(16384, Seeking::kHole).value(), 20480u);
  EXPECT_EQ(file_->Seek(20480, Seeking::kData).value(), block);
  EXPECT_EQ(file_->Seek(block, Seeking::kHole).value(), block + kBlockSize);
  EXPECT_EQ(file_->Seek(block + kBlockSize, Seeking::kData).status().sys_errno(),
            ENXIO);
  EXPECT_EQ(file_->Seek(1 << 20, Seeking::kHole).status().sys_errno(), ENXIO);
  // An entry that someone emptied makes no hole, but data that can't be read.
  ZeroOnDisk(EntryOffset(BlockNo(1)).value, kEntrySize);
  EXPECT_EQ(file_->Seek(0, Seeking::kData).value(), kBlockSize);
  EXPECT_EQ(ReadError(kBlockSize), Error::kCorrupt);
}

TEST_F(FileSpaceTest, AHoleThatWasWrittenDoesNotComeBackAsZeros) {
  ASSERT_TRUE(file_->Truncate(65536).ok());
  ASSERT_TRUE(file_->Write(0, RandomBytes(65536)).ok());
  ASSERT_TRUE(Reopen().ok());
  ZeroOnDisk(DataOffset(BlockNo(3)).value, kBlockSize);
  EXPECT_EQ(ReadError(3 * kBlockSize), Error::kCorrupt);
}

}  // namespace
}  // namespace keyfold
