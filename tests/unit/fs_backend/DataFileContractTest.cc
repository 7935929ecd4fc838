// Does every DataFile keep the contract that files are built on, on every kind of
// filesystem at hand?
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <memory>

#include "fs/backend/DataFile.h"
#include "fs/backend/FaultyDataFile.h"
#include "fs/backend/VolatileDataFile.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

struct Kind {
  const char* name;
  const char* parent;
  std::function<std::unique_ptr<DataFile>(UniqueFd)> make;
};

std::unique_ptr<DataFile> Posix(UniqueFd fd) {
  return std::make_unique<PosixDataFile>(std::move(fd));
}
std::unique_ptr<DataFile> Faulty(UniqueFd fd) {
  return std::make_unique<FaultyDataFile>(Posix(std::move(fd)));
}
std::unique_ptr<DataFile> Volatile(UniqueFd fd) {
  return std::make_unique<VolatileDataFile>(Posix(std::move(fd)));
}

class DataFileContractTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (::access(GetParam().parent, W_OK) != 0)
      GTEST_SKIP() << "no " << GetParam().parent << " to write in";
    folder_ = std::make_unique<TempFolder>(GetParam().parent);
    file_ = GetParam().make(
        UniqueFd(::open(Path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
  }
  std::string Path() const { return *folder_ / "data"; }
  // Read reads up to `size` bytes and says how many there were by its size.
  Bytes Read(uint64_t offset, size_t size) {
    Bytes out(size, 0xee);
    const auto n = file_->ReadAt(offset, out);
    EXPECT_TRUE(n.ok()) << n.status().ToString();
    out.resize(n.ok() ? *n : 0);
    return out;
  }
  uint64_t Size() {
    const auto info = file_->Stat();
    EXPECT_TRUE(info.ok()) << info.status().ToString();
    return info.ok() ? info->size : UINT64_MAX;
  }

  std::unique_ptr<TempFolder> folder_;
  std::unique_ptr<DataFile> file_;
};

Bytes Pattern(size_t size) {
  Bytes out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(i * 7 + i / 251);
  return out;
}

TEST_P(DataFileContractTest, ReadsAreShortOnlyAtTheEnd) {
  EXPECT_EQ(Read(0, 10), Bytes());
  const Bytes data = Pattern(10000);
  ASSERT_TRUE(file_->WriteAt(0, data).ok());
  EXPECT_EQ(Read(0, 10000), data);
  EXPECT_EQ(Read(9990, 100), Bytes(data.end() - 10, data.end()));
  EXPECT_EQ(Read(10000, 1), Bytes());
  EXPECT_EQ(Read(uint64_t{1} << 40, 1), Bytes());
  EXPECT_EQ(Read(5, 0), Bytes());
}

TEST_P(DataFileContractTest, TwoRangesAreReadWholeOrNotAtAll) {
  const Bytes data = Pattern(500000);
  ASSERT_TRUE(file_->WriteAt(0, data).ok());
  const auto expect = [&](uint64_t first, size_t m, uint64_t second, size_t n) {
    Bytes a(m), b(n);
    const auto read = file_->ReadBoth({first, a}, {second, b});
    ASSERT_TRUE(read.ok() && *read) << read.status().ToString();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), data.begin() + first)) << first;
    EXPECT_TRUE(std::equal(b.begin(), b.end(), data.begin() + second)) << second;
  };
  ASSERT_TRUE(file_->Sync(false).ok());
  // Once from the disk, where it has one, and once from memory.
  for (int round = 0; round < 2; ++round) {
    if (round == 0)
      (void)::posix_fadvise(UniqueFd(::open(Path().c_str(), O_RDONLY)).get(), 0, 0,
                            POSIX_FADV_DONTNEED);
    expect(4096, 64, 300000, 4096);
    expect(400000, 100000, 0, 10);
    expect(7, 0, 499999, 1);
  }
  Bytes a(10), b(10);
  for (const auto& [first, second] : {std::pair{499995, 0}, {0, 499995}, {600000, 0}}) {
    const auto read = file_->ReadBoth({static_cast<uint64_t>(first), a},
                                      {static_cast<uint64_t>(second), b});
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_FALSE(*read);
  }
}

TEST_P(DataFileContractTest, WritesReplaceAndExtend) {
  Bytes data = Pattern(9000);
  ASSERT_TRUE(file_->WriteAt(0, data).ok());
  ASSERT_TRUE(file_->WriteAt(4000, Bytes(6000, 1)).ok());
  data.resize(10000);
  std::fill(data.begin() + 4000, data.end(), uint8_t{1});
  EXPECT_EQ(Size(), 10000u);
  EXPECT_EQ(Read(0, 20000), data);
  ASSERT_TRUE(file_->WriteAt(10, {}).ok());
  EXPECT_EQ(Size(), 10000u);
}

TEST_P(DataFileContractTest, WhatNobodyWroteReadsAsZeros) {
  ASSERT_TRUE(file_->WriteAt(1000000, Bytes(1, 9)).ok());
  EXPECT_EQ(Size(), 1000001u);
  EXPECT_EQ(Read(0, 1000000), Bytes(1000000));
  struct stat st;
  ASSERT_EQ(::stat(Path().c_str(), &st), 0);
  EXPECT_LT(st.st_blocks * 512, 100000);
}

TEST_P(DataFileContractTest, TruncateCutsAndGrowsByZeros) {
  const Bytes data = Pattern(10000);
  ASSERT_TRUE(file_->WriteAt(0, data).ok());
  ASSERT_TRUE(file_->Truncate(5000).ok());
  EXPECT_EQ(Size(), 5000u);
  EXPECT_EQ(Read(0, 10000), Bytes(data.begin(), data.begin() + 5000));
  ASSERT_TRUE(file_->Truncate(9000).ok());
  EXPECT_EQ(Size(), 9000u);
  // Not what lay there before it was cut.
  EXPECT_EQ(Read(5000, 5000), Bytes(4000));
  ASSERT_TRUE(file_->Truncate(0).ok());
  EXPECT_EQ(Size(), 0u);
}

TEST_P(DataFileContractTest, WhatIsSyncedIsInTheFileItself) {
  const Bytes data = Pattern(5000);
  ASSERT_TRUE(file_->WriteAt(0, data).ok());
  for (bool data_only : {true, false}) ASSERT_TRUE(file_->Sync(data_only).ok());
  file_.reset();
  const UniqueFd fd(::open(Path().c_str(), O_RDONLY | O_CLOEXEC));
  Bytes out(6000);
  const auto n = ReadAt(fd.get(), 0, out);
  ASSERT_TRUE(n.ok());
  out.resize(*n);
  EXPECT_EQ(out, data);
}

TEST_P(DataFileContractTest, TimesAreKeptToTheNanosecond) {
  ASSERT_TRUE(file_->SetTimes({1000000000, 123456789}, {1100000000, 987654321}).ok());
  const auto info = file_->Stat();
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->accessed.tv_sec, 1000000000);
  EXPECT_EQ(info->accessed.tv_nsec, 123456789);
  EXPECT_EQ(info->modified.tv_sec, 1100000000);
  EXPECT_EQ(info->modified.tv_nsec, 987654321);
}

TEST_P(DataFileContractTest, ErrorsNameTheirCause) {
  const uint64_t too_far = uint64_t{1} << 63;  // negative as an off_t
  Bytes byte(1);
  EXPECT_EQ(file_->ReadAt(too_far, byte).status().sys_errno(), EINVAL);
  EXPECT_EQ(file_->WriteAt(too_far, byte).sys_errno(), EINVAL);
  EXPECT_EQ(file_->Truncate(too_far).sys_errno(), EINVAL);
  EXPECT_EQ(Size(), 0u);
}

TEST_P(DataFileContractTest, AFileOpenForReadingRefusesWrites) {
  ASSERT_TRUE(file_->WriteAt(0, Bytes(3, 1)).ok());
  file_ = GetParam().make(UniqueFd(::open(Path().c_str(), O_RDONLY | O_CLOEXEC)));
  EXPECT_EQ(Read(0, 9), Bytes(3, 1));
  const Status written = file_->WriteAt(0, Bytes(1));
  EXPECT_EQ(written.error(), Error::kSystem);
  EXPECT_EQ(written.sys_errno(), EBADF);
  EXPECT_EQ(file_->Truncate(1).sys_errno(), EINVAL);
  EXPECT_EQ(Size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(All, DataFileContractTest,
                         testing::Values(Kind{"PosixOnDisk", "/var/tmp", Posix},
                                         Kind{"PosixInMemory", "/dev/shm", Posix},
                                         Kind{"FaultyWithoutFault", "/var/tmp", Faulty},
                                         Kind{"VolatileWithPower", "/var/tmp",
                                              Volatile}),
                         [](const auto& kind) { return std::string(kind.param.name); });

// The twins do what their headers say.
class TwinTest : public testing::Test {
 protected:
  std::unique_ptr<DataFile> Open() {
    return Posix(UniqueFd(
        ::open((folder_ / "data").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
  }
  Bytes OnDisk() {
    Bytes out(1 << 20);
    const auto n = Open()->ReadAt(0, out);
    EXPECT_TRUE(n.ok());
    out.resize(n.ok() ? *n : 0);
    return out;
  }
  TempFolder folder_;
};

TEST_F(TwinTest, TheChosenCallFailsAndNoOther) {
  FaultyDataFile file(Open());
  file.InjectFault(Fault{2, EIO});
  EXPECT_TRUE(file.WriteAt(0, Bytes(10, 1)).ok());
  const Status failed = file.WriteAt(0, Bytes(10, 2));
  EXPECT_EQ(failed.error(), Error::kSystem);
  EXPECT_EQ(failed.sys_errno(), EIO);
  EXPECT_TRUE(file.Sync(true).ok());
  EXPECT_EQ(file.calls(), 3u);
  EXPECT_EQ(OnDisk(), Bytes(10, 1));
  file.InjectFault(Fault{1, EIO, false, true});
  Bytes out(1);
  EXPECT_EQ(file.ReadAt(0, out).status().sys_errno(), EIO);
  EXPECT_EQ(file.Sync(false).sys_errno(), EIO);
  EXPECT_EQ(file.Stat().status().sys_errno(), EIO);
  EXPECT_EQ(file.Truncate(0).sys_errno(), EIO);
  EXPECT_EQ(file.SetTimes({}, {}).sys_errno(), EIO);
}

TEST_F(TwinTest, ATornWriteStoresWholePages) {
  FaultyDataFile file(Open());
  file.InjectFault(Fault{1, EIO, true});
  EXPECT_EQ(file.WriteAt(100, Bytes(4 * 4096, 1)).sys_errno(), EIO);
  EXPECT_EQ(OnDisk().size(), 2 * 4096u);  // of five pages
  EXPECT_EQ(OnDisk()[99], 0);
  EXPECT_EQ(OnDisk()[100], 1);
  file.InjectFault(Fault{1, EIO, true});
  EXPECT_EQ(file.WriteAt(0, Bytes(4096, 2)).sys_errno(), EIO);
  EXPECT_EQ(OnDisk()[0], 0);
}

TEST_F(TwinTest, AFullDiskStillOverwrites) {
  FaultyDataFile file(Open());
  file.SetCapacity(3 * 4096);
  EXPECT_EQ(file.WriteAt(4096, Bytes(4 * 4096, 1)).sys_errno(), ENOSPC);
  EXPECT_EQ(OnDisk().size(), 3 * 4096u);
  EXPECT_TRUE(file.WriteAt(0, Bytes(3 * 4096, 2)).ok());
}

TEST_F(TwinTest, PowerLossSparesWhatWasSynced) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    VolatileDataFile file(Open());
    ASSERT_TRUE(file.WriteAt(0, Bytes(8 * 4096, 1)).ok());
    ASSERT_TRUE(file.Sync(true).ok());
    EXPECT_EQ(file.unsynced_pages(), 0u);
    ASSERT_TRUE(file.WriteAt(4096, Bytes(4096, 2)).ok());
    ASSERT_TRUE(file.WriteAt(4096, Bytes(4096, 3)).ok());
    EXPECT_EQ(file.unsynced_pages(), 1u);
    ASSERT_TRUE(file.LosePower(seed).ok());
    EXPECT_EQ(file.Sync(true).sys_errno(), EIO);
    Bytes disk = OnDisk();
    ASSERT_EQ(disk.size(), 8 * 4096u);
    const uint8_t held = disk[4096];
    EXPECT_TRUE(held >= 1 && held <= 3);
    std::fill(disk.begin() + 4096, disk.begin() + 2 * 4096, uint8_t{1});
    EXPECT_EQ(disk, Bytes(8 * 4096, 1));
  }
}

TEST_F(TwinTest, PowerLossDropsAndReorders) {
  bool older_only = false, newer_only = false, shorter = false;
  for (unsigned seed = 0; seed < 100; ++seed) {
    VolatileDataFile file(Open());
    ASSERT_TRUE(file.Truncate(0).ok());
    ASSERT_TRUE(file.WriteAt(0, Bytes(2 * 4096, 1)).ok());
    ASSERT_TRUE(file.Sync(true).ok());
    ASSERT_TRUE(file.WriteAt(0, Bytes(4096, 2)).ok());
    ASSERT_TRUE(file.WriteAt(4096, Bytes(4096, 3)).ok());
    ASSERT_TRUE(file.Truncate(3 * 4096).ok());
    ASSERT_TRUE(file.LosePower(seed).ok());
    const Bytes disk = OnDisk();
    older_only |= disk[0] == 2 && disk[4096] == 1;
    newer_only |= disk[0] == 1 && disk[4096] == 3;
    shorter |= disk.size() == 2 * 4096;
  }
  EXPECT_TRUE(older_only);
  EXPECT_TRUE(newer_only);
  EXPECT_TRUE(shorter);
}

}  // namespace
}  // namespace keyfold
