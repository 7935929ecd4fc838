// Is what a file holds read whole, its holes left out, and never past what there is?
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "fs/backend/Backend.h"
#include "fs/cli/Contents.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

class ContentsTest : public testing::Test {
 protected:
  struct Part {
    uint64_t offset, size;
  };
  void SetUp() override {
    fd_ = *OpenAt(AT_FDCWD, folder_ / "file", O_RDWR | O_CREAT, 0600);
  }
  void Put(off_t offset, const Bytes& contents) {
    ASSERT_TRUE(WriteAt(fd_.get(), offset, contents).ok());
  }
  Result<ContentHash> Read(uint64_t size, uint64_t part = 0) {
    parts_.clear();
    return ReadContents(fd_.get(), size, {part, nullptr},
                        [&](uint64_t offset, ByteView contents) {
                          parts_.push_back({offset, contents.size()});
                          return after_part_ ? after_part_() : OkStatus();
                        });
  }

  TempFolder folder_;
  UniqueFd fd_;
  std::vector<Part> parts_;
  std::function<Status()> after_part_;
};

TEST_F(ContentsTest, HolesAreNotReadAndAreTheSameAsZeros) {
  constexpr uint64_t kSize = (8 << 20) + 123;
  Put(0, Bytes(10, 1));
  Put(4 << 20, Bytes(4096, 2));
  ASSERT_EQ(::ftruncate(fd_.get(), kSize), 0);
  const auto sparse = Read(kSize);
  ASSERT_TRUE(sparse.ok());
  ASSERT_EQ(parts_.size(), 2u);
  EXPECT_EQ(parts_[1].offset, 4u << 20);
  Put(1 << 20, Bytes(1 << 20, 0));
  const auto filled = Read(kSize);
  ASSERT_TRUE(filled.ok());
  EXPECT_GT(parts_.size(), 2u);
  EXPECT_EQ(*sparse, *filled);
  Put((1 << 20) + 7, {1});
  EXPECT_NE(*sparse, *Read(kSize));
}

TEST_F(ContentsTest, LengthAndPlaceOfContentsCount) {
  Put(0, Bytes(4096, 1));
  Put(4096, Bytes(4096, 2));
  const auto first = Read(8192);
  EXPECT_NE(*first, *Read(4096));
  Put(0, Bytes(4096, 2));
  Put(4096, Bytes(4096, 1));
  EXPECT_NE(*first, *Read(8192));
  ASSERT_EQ(::ftruncate(fd_.get(), 0), 0);
  ASSERT_EQ(::ftruncate(fd_.get(), 8192), 0);
  const auto hole = Read(8192);
  ASSERT_EQ(::ftruncate(fd_.get(), 8193), 0);
  EXPECT_NE(*hole, *Read(8193));
}

TEST_F(ContentsTest, ReadsAPartAtATime) {
  Put(0, Bytes(100'000, 1));
  const auto whole = Read(100'000), parts = Read(100'000, 1);
  EXPECT_EQ(parts_.size(), 25u);  // of a block each
  EXPECT_EQ(parts_.back().size, 100'000u - 24 * 4096);
  EXPECT_EQ(*whole, *parts);
}

TEST_F(ContentsTest, AFileThatShrinksWhileItIsReadIsToldAndNotFilledUp) {
  Put(0, Bytes(100'000, 1));
  EXPECT_EQ(Read(100'001).status().sys_errno(), EAGAIN);
  after_part_ = [&] {
    EXPECT_EQ(::ftruncate(fd_.get(), 50'000), 0);
    return OkStatus();
  };
  EXPECT_EQ(Read(100'000, 8192).status().sys_errno(), EAGAIN);
}

TEST_F(ContentsTest, AFileThatGrowsWhileItIsReadIsReadAsLongAsItWas) {
  Put(0, Bytes(100'000, 1));
  const auto before = Read(100'000);
  after_part_ = [&] {
    Put(100'000, Bytes(1 << 20, 2));
    return OkStatus();
  };
  const auto grown = Read(100'000, 8192);
  ASSERT_TRUE(grown.ok());
  EXPECT_EQ(*grown, *before);
  EXPECT_EQ(parts_.back().offset + parts_.back().size, 100'000u);
}

TEST_F(ContentsTest, WhatItIsGivenToEndsIt) {
  Put(0, Bytes(100'000, 1));
  after_part_ = [] { return Status::FromErrno(ENOSPC, "write"); };
  EXPECT_EQ(Read(100'000, 4096).status().sys_errno(), ENOSPC);
  EXPECT_EQ(parts_.size(), 1u);
}

}  // namespace
}  // namespace keyfold
