// After any one system call under a file has failed, does every block read as
// old or new, at once and after opening again?
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "BackingCopy.h"
#include "fs/backend/FaultyDataFile.h"

namespace keyfold {
namespace {

// Groups 0 and 1 are full, group 2 holds four blocks and a part.
constexpr uint64_t kLength = 100 * kBlockSize + 1000;

// What a file held before an operation, and holds after it.
struct Operation {
  const char* name;
  std::function<Status(File&)> before;
  std::function<Status(File&)> run;
};

void PrintTo(const Operation& operation, std::ostream* out) { *out << operation.name; }

Bytes Text(size_t size, uint8_t seed) {
  Bytes out(size);
  for (size_t i = 0; i < size; ++i)
    out[i] = static_cast<uint8_t>(seed + i / kBlockSize + i % 251);
  return out;
}

Status Nothing(File&) { return OkStatus(); }
Status Fill(File& file) { return file.Write(0, Text(kLength, 1)); }
// Groups 1 to 3 are a hole.
Status FillAroundHole(File& file) {
  KF_RETURN_IF_ERROR(file.Write(0, Text(20 * kBlockSize, 1)));
  return file.Write(FirstBlockOf(GroupNo(4)).value * kBlockSize + 5, Text(9000, 2));
}
std::function<Status(File&)> Write(uint64_t offset, size_t size) {
  return [=](File& file) { return file.Write(offset, Text(size, 100)); };
}
std::function<Status(File&)> Truncate(uint64_t length) {
  return [=](File& file) { return file.Truncate(length); };
}
std::function<Status(File&)> Zero(uint64_t offset, uint64_t size, bool release) {
  return [=](File& file) { return file.Zero(offset, size, release); };
}
std::function<Status(File&)> Reserve(uint64_t offset, uint64_t size) {
  return [=](File& file) { return file.Reserve(offset, size, false); };
}
Status WriteAndSync(File& file) {
  KF_RETURN_IF_ERROR(file.Write(3 * kBlockSize, Text(2 * kBlockSize, 100)));
  return file.Sync(false);
}
constexpr char kOtherKey[] = "99999999-9999-4999-8999-999999999999";
Status Rewrap(File& file) {
  return file.Rewrap(file.header().blob, kOtherKey, Bytes(97, 3));
}

const Operation kOperations[] = {
    {"WriteNew", Nothing, Write(0, 300000)},
    {"WriteNewBehindNothing", Nothing, Write(200000, 5000)},
    {"OverwriteBlocks", Fill, Write(20 * kBlockSize, 40 * kBlockSize)},
    {"OverwriteParts", Fill, Write(31 * kBlockSize + 77, 5000)},
    {"OverwriteTheEnd", Fill, Write(99 * kBlockSize + 5, kBlockSize)},
    {"AppendInBlock", Fill, Write(kLength, 50)},
    {"Append", Fill, Write(kLength, 400000)},
    {"WriteFarBehind", Fill, Write(kLength + (1 << 20), 5000)},
    {"WriteIntoHole", FillAroundHole, Write(50 * kBlockSize + 9, 3 * kBlockSize)},
    {"CutInsideBlock", Fill, Truncate(50 * kBlockSize + 123)},
    {"CutAtBlock", Fill, Truncate(64 * kBlockSize)},
    {"CutAll", Fill, Truncate(0)},
    {"CutIntoHole", FillAroundHole, Truncate(60 * kBlockSize + 1)},
    {"Grow", Fill, Truncate(kLength + (3 << 20) + 17)},
    {"PunchBlocks", Fill, Zero(10 * kBlockSize + 5, 10 * kBlockSize, true)},
    {"PunchGroup", Fill, Zero(20 * kBlockSize, 78 * kBlockSize + 9, true)},
    {"ZeroToTheEnd", Fill, Zero(90 * kBlockSize + 5, kLength, false)},
    {"ReserveBehind", Fill, Reserve(kLength + 100, 2 << 20)},
    {"WriteAndSync", Fill, WriteAndSync},
    {"Rewrap", Fill, Rewrap},
    {"Reencrypt", Fill, BackingCopy::ReencryptAll},
    {"ReencryptAroundHole", FillAroundHole, BackingCopy::ReencryptAll},
};

// EachBlockIsOneOf checks that the file is as long as one of the two, or between
// them, and that each block reads as in one or the other.
void EachBlockIsOneOf(File& file, const Bytes& old_text, const Bytes& new_text) {
  const size_t least = std::min(old_text.size(), new_text.size());
  const size_t most = std::max(old_text.size(), new_text.size());
  const uint64_t length = file.length();
  ASSERT_GE(length, least);
  ASSERT_LE(length, most);
  Bytes padded_old = old_text, padded_new = new_text;
  padded_old.resize(most);
  padded_new.resize(most);
  for (uint64_t block = 0; block < BlocksOf(length); ++block) {
    Bytes held(BlockBytes(BlockNo(block), length));
    const auto n = file.Read(block * kBlockSize, held);
    ASSERT_TRUE(n.ok()) << "block " << block << ": " << n.status().ToString();
    const auto at = static_cast<long>(block * kBlockSize);
    const bool is_old = std::equal(held.begin(), held.end(), padded_old.begin() + at);
    const bool is_new = std::equal(held.begin(), held.end(), padded_new.begin() + at);
    ASSERT_TRUE(is_old || is_new) << "block " << block << " is neither";
  }
}

class FaultTest : public testing::TestWithParam<Operation> {
 protected:
  void SetUp() override {
    copy_ = std::make_unique<BackingCopy>(GetParam().before);
    auto file = copy_->Open();
    ASSERT_TRUE(file.ok());
    old_ = Contents(**file).value();
    old_key_ = (*file)->header().key_id;
    ASSERT_TRUE(GetParam().run(**file).ok());
    new_ = Contents(**file).value();
  }
  std::shared_ptr<File> OpenFaulty() {
    auto file = copy_->Open([this](std::unique_ptr<DataFile> data) {
      auto faulty = std::make_unique<FaultyDataFile>(std::move(data));
      disk_ = faulty.get();
      return faulty;
    });
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return file.ok() ? *file : nullptr;
  }
  // Reopen opens the file as the daemon after one that was killed.
  std::shared_ptr<File> Reopen() {
    copy_->Crash();
    auto file = copy_->Open();
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return file.ok() ? *file : nullptr;
  }
  void CheckAfterKill() {
    SCOPED_TRACE("killed and opened again");
    const auto file = Reopen();
    ASSERT_NE(file, nullptr);
    EachBlockIsOneOf(*file, old_, new_);
  }
  // AsIfKilled runs `check` on the disk as it is now, and puts it back for the
  // file that is open.
  void AsIfKilled(const std::function<void()>& check) {
    const Bytes now = copy_->Snapshot();
    check();
    copy_->Restore(now);
  }

  std::unique_ptr<BackingCopy> copy_;
  Bytes old_, new_;
  std::string old_key_;
  FaultyDataFile* disk_ = nullptr;  // the file's, while it is open
};

TEST_P(FaultTest, AFailedCallLeavesOldOrNew) {
  for (const Fault& kind : {Fault{0, EIO}, Fault{0, ENOSPC, true}}) {
    for (uint64_t call = 1;; ++call) {
      SCOPED_TRACE("call " + std::to_string(call) + (kind.tear ? " torn" : ""));
      copy_->Restore(copy_->original());
      auto file = OpenFaulty();
      ASSERT_NE(file, nullptr);
      disk_->InjectFault(Fault{call, kind.error, kind.tear});
      const Status status = GetParam().run(*file);
      const bool reached = disk_->calls() >= call;
      disk_->InjectFault({});
      if (!reached) {
        ASSERT_TRUE(status.ok()) << status.ToString();
        ASSERT_GT(call, 1u);
        break;
      }
      // A failure may also be made good, but is never another one.
      if (!status.ok()) {
        ASSERT_EQ(status.sys_errno(), kind.error) << status.ToString();
      }

      ASSERT_NO_FATAL_FAILURE(EachBlockIsOneOf(*file, old_, new_));
      const std::string key = file->header().key_id;
      ASSERT_NO_FATAL_FAILURE(AsIfKilled([&] {
        CheckAfterKill();
        EXPECT_EQ(Reopen()->header().key_id, key) << "what failed takes effect later";
      }));
      // A sync that failed within is told of once more.
      if (const Status synced = file->Sync(false); !synced.ok()) {
        ASSERT_EQ(synced.sys_errno(), kind.error);
        ASSERT_TRUE(file->Sync(false).ok());
      }
      const auto seen = Contents(*file);
      ASSERT_TRUE(seen.ok());
      ASSERT_NO_FATAL_FAILURE(AsIfKilled([&] {
        const auto again = Reopen();
        ASSERT_NE(again, nullptr);
        EXPECT_EQ(Contents(*again).value(), *seen) << "Sync did not keep what was seen";
        EXPECT_EQ(again->header().key_id, key);
      }));
      // The file goes on as if nothing had been.
      const Status repeated = GetParam().run(*file);
      ASSERT_TRUE(repeated.ok()) << repeated.ToString();
      EXPECT_EQ(Contents(*file).value(), new_);
      ASSERT_NO_FATAL_FAILURE(AsIfKilled([&] { CheckAfterKill(); }));
      ASSERT_TRUE(file->Sync(false).ok());
      file.reset();
      file = Reopen();
      ASSERT_NE(file, nullptr);
      EXPECT_EQ(Contents(*file).value(), new_);
    }
  }
}

TEST_P(FaultTest, ADiskThatDiesLeavesOldOrNew) {
  for (bool tear : {false, true}) {
    for (uint64_t call = 1;; ++call) {
      SCOPED_TRACE("from call " + std::to_string(call) + (tear ? " torn" : ""));
      copy_->Restore(copy_->original());
      auto file = OpenFaulty();
      ASSERT_NE(file, nullptr);
      disk_->InjectFault(Fault{call, EIO, tear, true});
      const Status status = GetParam().run(*file);
      const bool reached = disk_->calls() >= call;
      file.reset();
      if (!reached) break;
      EXPECT_EQ(status.sys_errno(), EIO);
      ASSERT_NO_FATAL_FAILURE(CheckAfterKill());
      // And once more, as opening puts things right.
      ASSERT_NO_FATAL_FAILURE(CheckAfterKill());
    }
  }
}

TEST_P(FaultTest, AFullDiskLosesNothing) {
  // Each of the first pages, then some: a write takes its data in one go.
  for (uint64_t pages = 0;; pages += pages < 8 ? 1 : 13) {
    SCOPED_TRACE("full after " + std::to_string(pages) + " pages more");
    copy_->Restore(copy_->original());
    auto file = OpenFaulty();
    ASSERT_NE(file, nullptr);
    disk_->SetCapacity(copy_->original().size() + pages * 4096);
    const Status status = GetParam().run(*file);
    if (status.ok()) break;
    ASSERT_EQ(status.sys_errno(), ENOSPC);
    ASSERT_NO_FATAL_FAILURE(EachBlockIsOneOf(*file, old_, new_));
    Bytes kept(old_.size());
    ASSERT_TRUE(file->Read(0, kept).ok());
    EXPECT_EQ(kept, old_);
    ASSERT_NO_FATAL_FAILURE(AsIfKilled([&] { CheckAfterKill(); }));
    disk_->SetCapacity(UINT64_MAX);
    ASSERT_TRUE(GetParam().run(*file).ok());
    EXPECT_EQ(Contents(*file).value(), new_);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FaultTest, testing::ValuesIn(kOperations),
                         [](const auto& operation) {
                           return std::string(operation.param.name);
                         });

// The seal count and the flag are promises about what comes after them: one that
// did not reach the disk must not be counted on.
class PromiseTest : public testing::Test {
 protected:
  std::shared_ptr<File> Open() {
    auto file = copy_.Open([this](std::unique_ptr<DataFile> data) {
      auto faulty = std::make_unique<FaultyDataFile>(std::move(data));
      disk_ = faulty.get();
      return faulty;
    });
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return file.ok() ? *file : nullptr;
  }
  // Overwrites block 5; the daemon is killed before the data is written.
  void CutOffBeforeData(File& file) {
    disk_->InjectFault({});
    const Bytes before = copy_.Snapshot();
    ASSERT_TRUE(file.Write(5 * kBlockSize, Text(kBlockSize, 77)).ok());
    ASSERT_TRUE(file.Flush().ok());
    Bytes after = copy_.Snapshot();
    const auto at = static_cast<long>(DataOffset(BlockNo(5)).value);
    std::copy_n(before.begin() + at, kBlockSize, after.begin() + at);
    copy_.Restore(after);
  }

  BackingCopy copy_{Fill};
  FaultyDataFile* disk_ = nullptr;
};

TEST_F(PromiseTest, AFlagThatWasNotWrittenIsWrittenLater) {
  auto file = Open();
  ASSERT_NE(file, nullptr);
  // Seals are reserved now, so that the header is written for the flag alone.
  const Bytes text = Text(kLength, 1);
  ASSERT_TRUE(file->Write(0, ByteView(text).first(kBlockSize)).ok());
  ASSERT_TRUE(file->Settle().ok());
  ASSERT_TRUE(file->Write(5 * kBlockSize, Text(kBlockSize, 50)).ok());
  disk_->InjectFault(Fault{1, EIO});
  ASSERT_EQ(file->Flush().sys_errno(), EIO);
  for (int round = 0; round < 3; ++round) {
    ASSERT_NO_FATAL_FAILURE(CutOffBeforeData(*file));
    file = Open();
    ASSERT_NE(file, nullptr);
    const auto held = Contents(*file);
    ASSERT_TRUE(held.ok()) << "round " << round << ": " << held.status().ToString();
    EXPECT_EQ(*held, text);
  }
}

TEST_F(PromiseTest, SealsThatWereNotReservedAreNotMade) {
  auto file = Open();
  ASSERT_NE(file, nullptr);
  const uint64_t bound = file->header().seals_in_epoch;
  // A file just opened reserves anew.
  disk_->InjectFault(Fault{1, EIO});
  ASSERT_EQ(file->Write(5 * kBlockSize, Text(kBlockSize, 50)).sys_errno(), EIO);
  disk_->InjectFault({});
  ASSERT_TRUE(file->Write(5 * kBlockSize, Text(kBlockSize, 50)).ok());
  file = Open();
  ASSERT_NE(file, nullptr);
  EXPECT_GT(file->header().seals_in_epoch, bound);
}

// What the kernel says once, to the first who syncs, is for all who ask.
TEST_F(PromiseTest, ASyncTellsWhatOneThatNobodyAskedForWasTold) {
  auto file = Open();
  ASSERT_NE(file, nullptr);
  ASSERT_TRUE(file->Write(5 * kBlockSize, Text(kBlockSize, 50)).ok());
  disk_->InjectFault(Fault{3, EIO});  // after the times and the header
  ASSERT_EQ(file->Flush().sys_errno(), EIO);
  disk_->InjectFault({});
  ASSERT_TRUE(file->Flush().ok());
  EXPECT_EQ(file->Sync(false).sys_errno(), EIO);
  EXPECT_TRUE(file->Sync(false).ok());
}

TEST_F(PromiseTest, AFileThatIsWipedStoresWhatWaits) {
  auto file = Open();
  ASSERT_NE(file, nullptr);
  ASSERT_TRUE(file->Write(5 * kBlockSize, Text(kBlockSize, 50)).ok());
  ASSERT_TRUE(file->Write(kLength, Text(kBlockSize, 60)).ok());
  file->Wipe();
  EXPECT_TRUE(file->Sync(false).ok());
  file = Open();
  ASSERT_NE(file, nullptr);
  const Bytes held = Contents(*file).value();
  EXPECT_EQ(held.size(), kLength + kBlockSize);
  EXPECT_TRUE(std::equal(held.begin() + 5 * kBlockSize, held.begin() + 6 * kBlockSize,
                         Text(kBlockSize, 50).begin()));
}

TEST_F(PromiseTest, AFileThatIsWipedAndCannotStoreSaysSo) {
  auto file = Open();
  ASSERT_NE(file, nullptr);
  ASSERT_TRUE(file->Write(5 * kBlockSize, Text(kBlockSize, 50)).ok());
  disk_->InjectFault(Fault{1, EIO, false, true});
  file->Wipe();
  disk_->InjectFault({});
  EXPECT_EQ(file->Sync(false).sys_errno(), EIO);
}

TEST_F(PromiseTest, WhoWritesOverAHoleIsToldThatTheDiskIsFull) {
  auto file = Open();
  ASSERT_NE(file, nullptr);
  ASSERT_TRUE(file->Zero(5 * kBlockSize, kBlockSize, true).ok());
  ASSERT_TRUE(file->Sync(false).ok());
  disk_->SetCapacity(DataOffset(BlockNo(5)).value);
  const Bytes text = Text(kBlockSize, 50);
  EXPECT_EQ(file->Write(5 * kBlockSize, text).sys_errno(), ENOSPC);
  EXPECT_EQ(file->Write(5 * kBlockSize + 9, ByteView(text).first(9)).sys_errno(),
            ENOSPC);
  EXPECT_TRUE(file->Sync(false).ok()) << "something waits that cannot be stored";
  Bytes held(kBlockSize);
  ASSERT_TRUE(file->Read(5 * kBlockSize, held).ok());
  EXPECT_EQ(held, Bytes(kBlockSize));
  disk_->SetCapacity(UINT64_MAX);
  EXPECT_TRUE(file->Write(5 * kBlockSize, text).ok());
}

TEST_F(PromiseTest, AFileThatCannotBeStoredKeepsNoCheckpointOpen) {
  auto file = Open();
  ASSERT_NE(file, nullptr);
  // The header tells of what waits at the end.
  ASSERT_TRUE(file->Write(kLength, Text(50, 60)).ok());
  ASSERT_TRUE(file->WriteHeader().ok());
  copy_.checkpoints().Next();
  disk_->SetCapacity(kPageSize);
  ASSERT_TRUE(file->Mark().ok());
  file->Confirm();
  ASSERT_TRUE(copy_.checkpoints().Close().ok());
  file.reset();
  copy_.Crash();
  file = Open();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(Contents(*file).value(), Text(kLength, 1));
}

// Else it would wait for ever in a file that nobody can open, and with it the file.
TEST_F(PromiseTest, AFileThatDoesNotOpenHasNothingThatWaits) {
  auto file = Open();
  ASSERT_NE(file, nullptr);
  ASSERT_TRUE(file->WriteHeader().ok());
  ASSERT_TRUE(file->Write(kLength, Text(kBlockSize, 60)).ok());
  file.reset();
  copy_.Crash();
  const Bytes crashed = copy_.Snapshot();
  for (uint64_t call = 1;; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    copy_.Restore(crashed);
    auto faulty = std::make_unique<FaultyDataFile>(std::make_unique<PosixDataFile>(
        UniqueFd(::open(copy_.path().c_str(), O_RDWR | O_CLOEXEC))));
    FaultyDataFile* disk = faulty.get();
    File locked(std::move(faulty), 1, copy_.checkpoints());
    disk->InjectFault(Fault{call, EIO});
    const Status opened = copy_.Unlock(locked);
    if (opened.ok()) break;
    ASSERT_EQ(opened.sys_errno(), EIO);
    EXPECT_TRUE(locked.SeemsSettled());
    disk->InjectFault({});
    ASSERT_TRUE(copy_.Unlock(locked).ok());
    EXPECT_EQ(Contents(locked).value(), Text(kLength, 1));
  }
}

TEST(MemoryTest, ADiskThatFailsDoesNotMakeMoreWait) {
  constexpr size_t kSize = 80 << 20, kMost = 64 << 20, kPiece = 256 << 10;
  BackingCopy copy([](File& file) { return file.Write(0, Bytes(kSize, 1)); });
  FaultyDataFile* disk = nullptr;
  auto file = copy.Open([&](std::unique_ptr<DataFile> data) {
    auto faulty = std::make_unique<FaultyDataFile>(std::move(data));
    disk = faulty.get();
    return faulty;
  });
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Write(0, Bytes(kPiece, 2)).ok());
  disk->InjectFault(Fault{1, EIO, false, true});
  Status written = OkStatus();
  for (uint64_t at = 0; at < kSize; at += kPiece)
    written = (*file)->Write(at, Bytes(kPiece, 2));
  EXPECT_EQ(written.sys_errno(), EIO);
  EXPECT_LE(Staging::InAll(), kMost + 2 * kPiece);
}

}  // namespace
}  // namespace keyfold
