// When a call fails, the daemon is killed and the power fails, in the middle of
// anything: does each block still read as one of the states it had since the last Sync?
#include <errno.h>
#include <gtest/gtest.h>

#include <random>

#include "BackingCopy.h"
#include "Seeds.h"
#include "States.h"
#include "fs/backend/FaultyDataFile.h"
#include "fs/backend/VolatileDataFile.h"

namespace keyfold {
namespace {

constexpr uint64_t kLength = 100 * kBlockSize + 1000;

// SharedDataFile is one descriptor of a disk that outlives it.
class SharedDataFile : public DataFile {
 public:
  explicit SharedDataFile(std::shared_ptr<DataFile> disk) : disk_(std::move(disk)) {}
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) const override {
    return disk_->ReadAt(offset, out);
  }
  Status WriteAt(uint64_t offset, ByteView data) override {
    return disk_->WriteAt(offset, data);
  }
  Status Truncate(uint64_t size) override { return disk_->Truncate(size); }
  Status Reserve(uint64_t offset, uint64_t size) override {
    return disk_->Reserve(offset, size);
  }
  Status Release(uint64_t offset, uint64_t size) override {
    return disk_->Release(offset, size);
  }
  Status Sync(bool data_only) override { return disk_->Sync(data_only); }
  Result<Info> Stat() const override { return disk_->Stat(); }
  Status SetTimes(const timespec& accessed, const timespec& modified) override {
    return disk_->SetTimes(accessed, modified);
  }

 private:
  const std::shared_ptr<DataFile> disk_;
};

class CrashAnywhereTest : public testing::TestWithParam<unsigned> {
 protected:
  CrashAnywhereTest() {
    copy_ = std::make_unique<BackingCopy>(
        [this](File& file) { return file.Write(origin_, base_); });
    NewDisk();
    Open();
  }
  uint64_t Pick(uint64_t below) { return random_() % below; }
  bool OneOf(uint64_t times) { return Pick(times) == 0; }

  void NewDisk() {
    auto forgets = std::make_unique<VolatileDataFile>(std::make_unique<PosixDataFile>(
        UniqueFd(::open(copy_->path().c_str(), O_RDWR | O_CLOEXEC))));
    memory_ = forgets.get();
    disk_ = std::make_shared<FaultyDataFile>(std::move(forgets));
  }
  void Open() {
    file_.reset();
    auto file = copy_->Open([this](std::unique_ptr<DataFile>) {
      return std::make_unique<SharedDataFile>(disk_);
    });
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    file_ = *file;
  }
  void Fail(bool lasts) {
    const bool tear = OneOf(2);
    disk_->InjectFault(Fault{1 + Pick(25), tear ? ENOSPC : EIO, tear, lasts});
  }

  // Step does something that a program asks for, or the daemon does by itself.
  Status Step() {
    const uint64_t length = states_.length(), size = length - origin_;
    syncing_ = false;
    switch (Pick(11)) {
      case 0: {
        const uint64_t to = OneOf(2) ? origin_ + Pick(size + 1) : length + Pick(700000);
        states_.Truncate(to);
        return file_->Truncate(to);
      }
      case 1: {
        const uint64_t offset = origin_ + Pick(size + 1), count = 1 + Pick(400000);
        states_.Zero(offset, count);
        return file_->Zero(offset, count, OneOf(2));
      }
      case 2:
        return file_->WriteHeader();
      case 3:
        return file_->Flush();
      case 4:
        return file_->Settle();
      case 5: {
        syncing_ = true;
        const Status synced = file_->Sync(OneOf(2));
        if (synced.ok()) states_.Synced();
        return synced;
      }
      case 6:
        return BackingCopy::BeginReencrypt(*file_);
      case 7:
        return file_->Reencrypt(1 + Pick(60 * kBlockSize)).status();
      default: {
        const uint64_t offset = origin_ + Pick(size + 5000);
        const Bytes data = RandomBytes(1 + Pick(OneOf(3) ? 400000 : 60000));
        if (offset > length) states_.Truncate(offset);  // it may get as far as that
        states_.Write(offset, data);
        return file_->Write(offset, data);
      }
    }
  }
  // Run takes steps, of which some fail for once.
  void Run(uint64_t steps) {
    for (uint64_t i = 0; i < steps; ++i) {
      const bool fails = OneOf(4);
      if (fails) Fail(false);
      const Status status = Step();
      disk_->InjectFault({});
      if (!status.ok() && !fails) {
        // A sync tells what one before was told that nobody asked for.
        ASSERT_TRUE(syncing_) << status.ToString();
        ASSERT_TRUE(file_->Sync(false).ok());
        states_.Synced();
      }
      const Bytes wanted = states_.text();
      ASSERT_NO_FATAL_FAILURE(GoOn());
      if (status.ok()) {
        ASSERT_EQ(states_.text(), wanted);
      }
    }
  }
  // GoOn checks what there is, and goes on from there.
  void GoOn() {
    const uint64_t length = file_->length();
    ASSERT_GE(length, origin_);
    Bytes text;
    for (uint64_t at = origin_; at < length; at += kBlockSize) {
      Bytes held(std::min(kBlockSize, length - at));
      const auto n = file_->Read(at, held);
      ASSERT_TRUE(n.ok()) << n.status().ToString();
      ASSERT_TRUE(states_.Held(at, held)) << "what is at " << at << " is another thing";
      text.insert(text.end(), held.begin(), held.end());
    }
    states_.IsNow(std::move(text));
  }
  void GoOnAfterCrash() {
    ASSERT_TRUE(states_.MayHaveLength(file_->length())) << file_->length();
    GoOn();
  }
  // What the daemon does each minute. A file that is closed meanwhile, and opened
  // again before the checkpoint is, must keep what was there.
  void Checkpoint() {
    const bool open = OneOf(2);
    if (!open) {
      ASSERT_TRUE(file_->Settle().ok());
    }
    copy_->checkpoints().Next();
    const bool fails = open && OneOf(3);
    if (fails) Fail(false);
    const Status marked = open ? file_->Mark() : OkStatus();
    disk_->InjectFault({});
    if (!marked.ok()) {
      ASSERT_TRUE(fails) << marked.ToString();
      return;  // until the next minute
    }
    ASSERT_TRUE(disk_->Sync(false).ok());
    if (!open) {
      ASSERT_NO_FATAL_FAILURE(Open());
    }
    // Some of it may wait on.
    if (!fails) states_.Synced();
    ASSERT_NO_FATAL_FAILURE(Run(Pick(4)));
    if (open) file_->Confirm();
    ASSERT_TRUE(copy_->checkpoints().Close().ok());
  }
  void Kill() {
    file_.reset();
    copy_->Crash();
    // As the vault does when it is opened.
    ASSERT_TRUE(disk_->Sync(false).ok());
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_NO_FATAL_FAILURE(GoOnAfterCrash());
  }
  void LosePowerWithinAStep(unsigned seed) {
    Fail(true);
    for (int i = 0; i < 3 && Step().ok(); ++i) {
    }
    ASSERT_TRUE(memory_->LosePower(seed).ok());
    file_.reset();
    copy_->Crash();
    NewDisk();
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_NO_FATAL_FAILURE(GoOnAfterCrash());
  }

  std::mt19937 random_{GetParam()};
  // Some begin behind what is put right when the file is opened; the rest is a hole.
  const uint64_t origin_ = OneOf(4) ? 65 << 20 : 0;
  const Bytes base_ = RandomBytes(kLength);
  States states_{base_, origin_};
  std::unique_ptr<BackingCopy> copy_;
  std::shared_ptr<FaultyDataFile> disk_;
  VolatileDataFile* memory_ = nullptr;  // under disk_
  std::shared_ptr<File> file_;
  bool syncing_ = false;  // the last step was a Sync
};

TEST_P(CrashAnywhereTest, LeavesOneOfTheStates) {
  for (unsigned round = 0; round < 3; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    ASSERT_NO_FATAL_FAILURE(Run(1 + Pick(8)));
    if (OneOf(3)) {
      ASSERT_NO_FATAL_FAILURE(Checkpoint());
    }
    if (OneOf(3)) {
      ASSERT_NO_FATAL_FAILURE(Kill());
    }
    ASSERT_NO_FATAL_FAILURE(Run(Pick(4)));
    ASSERT_NO_FATAL_FAILURE(LosePowerWithinAStep(GetParam() + round));
  }
  // Whatever was left of encrypting it anew is gone on with.
  ASSERT_TRUE(BackingCopy::ReencryptAll(*file_).ok());
  GoOn();
}

INSTANTIATE_TEST_SUITE_P(Seeds, CrashAnywhereTest, testing::ValuesIn(Seeds(400)),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace keyfold
