// OpenFileTest: one open file on the backing filesystem, and its key, to reopen it
// with.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "TestHeader.h"
#include "TestKeys.h"
#include "fs/vault/File.h"

namespace keyfold {

class OpenFileTest : public testing::Test {
 protected:
  // On a filesystem whose space can be reserved and given back.
  void SetUp() override {
    char name[] = "/var/tmp/keyfold-file-XXXXXX";
    const int fd = mkstemp(name);
    ASSERT_GE(fd, 0);
    path_ = name;
    dek_ = RandomSecret(kKeySize);
    auto file = File::Create(std::make_unique<PosixDataFile>(UniqueFd(fd)), 1,
                             *checkpoints_, TestHeader(), DataKey(CopySecret(dek_)));
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    file_ = *file;
  }
  void TearDown() override { ::unlink(path_.c_str()); }

  // Reopen drops the open file as SIGKILL would, unless `flush` is set.
  Status Reopen(bool flush = true) {
    if (flush) {
      EXPECT_TRUE(file_->Settle().ok());
    }
    file_.reset();
    if (!flush) checkpoints_ = Checkpoints::Open(keys_).value();
    UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    file_ = std::make_shared<File>(std::make_unique<PosixDataFile>(std::move(fd)), 1,
                                   *checkpoints_);
    KF_ASSIGN_OR_RETURN(const auto claimed, file_->Inspect());
    return file_->Unlock(DataKey(CopySecret(dek_)), claimed);
  }

  TestKeys keys_;
  std::unique_ptr<Checkpoints> checkpoints_ = Checkpoints::Open(keys_).value();
  std::string path_;
  SecretBytes dek_;
  std::shared_ptr<File> file_;
};

}  // namespace keyfold
