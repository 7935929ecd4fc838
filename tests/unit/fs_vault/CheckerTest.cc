// Does a check refuse to repair what it cannot record, come to the same verdicts with
// any number of threads and in any parts, and change nothing unless told to?
// tests/mount/test_fsck.py has the kinds of damage.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <filesystem>
#include <set>

#include "TestKeys.h"
#include "fs/vault/Checker.h"
#include "fs/vault/TreeSize.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

class CheckerTest : public testing::Test {
 protected:
  void SetUp() override {
    options_ = {store_ / "tree", "33333333-3333-4333-8333-333333333333"};
    ASSERT_TRUE(Vault::CreateTree(options_, metadata_, TestKeys::kKeyOne).ok());
    auto vault = Vault::Open(options_, metadata_, keys_).value();
    for (int i = 0; i < 20; ++i) {
      const std::string folder = "folder " + std::to_string(i);
      ASSERT_TRUE(vault->MakeFolder({vault->root(), folder}, 0755, user_).ok());
      struct stat st;
      const auto fd = vault->Find({vault->root(), folder}, &st).value();
      const auto opened = vault->OpenFolder({vault->root(), folder}, fd.get()).value();
      for (int j = 0; j < 20; ++j) {
        auto made =
            vault->Create({opened, "file " + std::to_string(j)}, 0644, user_, "/");
        ASSERT_TRUE(made.ok());
        ASSERT_TRUE(made->handle->file->Write(0, Bytes(5000, 7)).ok());
        vault->Close(made->handle);
        if (j % 10 != 3) continue;
        damaged_.insert("/" + folder + "/file " + std::to_string(j));
        const int file = ::open(FdPath(made->fd.get()).c_str(), O_RDWR | O_CLOEXEC);
        const UniqueFd real(file);
        // One of two kinds: a block, or the header.
        ASSERT_TRUE(WriteAt(file, j == 3 ? 5000 : 0, Bytes(2048)).ok());
      }
    }
    vault->SettleAll();
  }

  CheckOptions Options(unsigned jobs) {
    CheckOptions options;
    options.vault = options_;
    options.jobs = jobs;
    options.found = [this](const Finding& finding) {
      found_.push_back(finding);
      if (stop_after_ != 0 && found_.size() % stop_after_ == 0) checker_->Stop();
    };
    return options;
  }
  Status Run(const CheckOptions& options) {
    TestKeys::Check check(keys_);
    quarantine_ = std::make_unique<Quarantine>(store_.path(), "now");
    checker_ = std::make_unique<Checker>(options, metadata_, check,
                                         Checkpoints::OpenToCheck(keys_).value(),
                                         *quarantine_);
    return checker_->Run();
  }
  std::multiset<std::string> Paths() const {
    std::multiset<std::string> paths;
    for (const Finding& finding : found_) paths.insert(finding.path);
    return paths;
  }

  TempFolder store_;
  VaultOptions options_;
  MetadataKey metadata_{RandomSecret(kKeySize)};
  TestKeys keys_;
  User user_;
  std::unique_ptr<Quarantine> quarantine_;
  std::multiset<std::string> damaged_;
  std::vector<Finding> found_;
  size_t stop_after_ = 0;
  std::unique_ptr<Checker> checker_;
};

TEST_F(CheckerTest, ThreadsComeToTheSameVerdicts) {
  for (unsigned jobs : {1u, 2u, 7u}) {
    found_.clear();
    ASSERT_TRUE(Run(Options(jobs)).ok());
    EXPECT_TRUE(checker_->complete());
    EXPECT_EQ(Paths(), damaged_);
    EXPECT_EQ(checker_->tally().files, 400u);
    EXPECT_EQ(checker_->tally().folders, 21u);
  }
}

TEST_F(CheckerTest, PartsMakeUpTheWhole) {
  for (size_t each : {1u, 3u}) {
    found_.clear();
    stop_after_ = each;
    CheckOptions options = Options(3);
    uint64_t files = 0, folders = 0;
    for (int parts = 0; parts < 100; ++parts) {
      ASSERT_TRUE(Run(options).ok());
      files += checker_->tally().files;
      folders += checker_->tally().folders;
      if (checker_->complete()) break;
      options.before = checker_->Reached();
    }
    EXPECT_TRUE(checker_->complete());
    EXPECT_EQ(Paths(), damaged_);
    EXPECT_EQ(files, 400u);
    EXPECT_EQ(folders, 21u);
  }
}

TEST_F(CheckerTest, ASparseFileCountsAsMuchAsWasMeasuredOfIt) {
  constexpr uint64_t kEnd = kFirstGroupPlain + 100 * kGroupPlain;
  const std::atomic<bool> stop{false};
  const auto measured = [&] {
    return MeasureTree(store_ / "tree", MeasuredBytes::kStored, stop).bytes;
  };
  ASSERT_TRUE(Run(Options(2)).ok());
  const uint64_t counted = checker_->tally().bytes, before = measured();
  auto vault = Vault::Open(options_, metadata_, keys_).value();
  auto made = vault->Create({vault->root(), "sparse"}, 0644, user_, "/");
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(made->handle->file->Write(0, Bytes(kFirstGroupPlain, 7)).ok());
  ASSERT_TRUE(
      made->handle->file->Write(kEnd - kGroupPlain, Bytes(kGroupPlain, 7)).ok());
  vault->Close(made->handle);
  vault->SettleAll();
  ASSERT_TRUE(Run(Options(2)).ok());
  EXPECT_EQ(checker_->tally().bytes - counted, kFirstGroupPlain + kGroupPlain);
  EXPECT_NEAR(static_cast<double>(measured() - before), kFirstGroupPlain + kGroupPlain,
              4 * kBlockSize);
}

TEST_F(CheckerTest, WhatCannotBeRecordedIsNotRepaired) {
  keys_.refused_record = "RepairStore";
  CheckOptions options = Options(2);
  options.repair = true;
  EXPECT_TRUE(Run(options).ok());
  EXPECT_EQ(Paths(), damaged_);
  for (const Finding& finding : found_) EXPECT_FALSE(finding.repaired);
  EXPECT_FALSE(std::filesystem::exists(store_ / "quarantine"));
}

TEST_F(CheckerTest, DamageThatCannotBeRecordedEndsTheCheck) {
  keys_.refused_record = "CheckFile";
  EXPECT_EQ(Run(Options(2)).sys_errno(), ENOSPC);
  EXPECT_FALSE(checker_->complete());
}

TEST_F(CheckerTest, WithoutTheKeyThereIsNoVerdict) {
  keys_.disabled_key = TestKeys::kKeyOne;
  ASSERT_TRUE(Run(Options(2)).ok());
  // Of a header that is none there is one all the same.
  size_t headers = 0;
  for (const Finding& finding : found_)
    if (finding.kind == FindingKind::kHeader)
      ++headers;
    else
      EXPECT_EQ(finding.kind, FindingKind::kKeyUnavailable);
  EXPECT_EQ(headers, 20u);
  EXPECT_EQ(found_.size(), 400u);
}

// The slot of before names the former data key, with which it authenticates.
TEST_F(CheckerTest, TheNewestSlotCountsAndNoOtherKeyIsWrittenOver) {
  Bytes older(kHeaderSlotSize), newest(kHeaderSlotSize), now(kHeaderSlotSize);
  UniqueFd raw;
  {
    auto vault = Vault::Open(options_, metadata_, keys_).value();
    auto made = vault->Create({vault->root(), "reencrypted"}, 0644, user_, "/").value();
    raw = Reopen(made.fd.get(), O_RDWR).value();
    File& file = *made.handle->file;
    ASSERT_TRUE(file.Write(0, Bytes(50000, 7)).ok());
    ASSERT_TRUE(file.Sync(false).ok());
    ASSERT_TRUE(ReadAt(raw.get(), 0, older).ok());
    const HeaderSlot header = file.header();
    ASSERT_TRUE(
        file.BeginReencrypt(
                keys_
                    .GenerateDataKey(
                        {}, header.key_id,
                        {{std::string(kContextStore), options_.store_id},
                         {std::string(kContextFolder), header.home_folder.Hex()},
                         {std::string(kContextFile), header.file_id.Hex()}},
                        "")
                    .value())
            .ok());
    while (!file.Reencrypt(1 << 20).value().finished) continue;
    vault->Close(made.handle);
    vault->SettleAll();
  }
  ASSERT_TRUE(ReadAt(raw.get(), 0, newest).ok());
  ASSERT_NE(older, newest);
  ASSERT_TRUE(WriteAt(raw.get(), 0, older).ok());
  CheckOptions options = Options(2);
  options.repair = true;
  ASSERT_TRUE(Run(options).ok());
  std::vector<FindingKind> kinds;
  for (const Finding& finding : found_)
    if (finding.path == "/reencrypted") kinds.push_back(finding.kind);
  EXPECT_EQ(kinds, std::vector{FindingKind::kHeaderSlot});  // and every block opens
  ASSERT_TRUE(ReadAt(raw.get(), 0, now).ok());
  EXPECT_EQ(now, older);  // its wrap may be the last one of that key
}

}  // namespace
}  // namespace keyfold
