// Do plaintext sizes and backing sizes correspond one to one, and do blocks,
// entries and header slots each have bytes of their own?
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "fs/format/Geometry.h"

namespace keyfold {
namespace {

// All lengths near a multiple of a page, up to three groups, then larger ones.
std::vector<uint64_t> InterestingLengths() {
  std::vector<uint64_t> lengths;
  for (uint64_t blocks = 0; blocks <= 3 * 64 + 40; ++blocks)
    for (int64_t delta = -9; delta <= 9; ++delta) {
      const int64_t length = static_cast<int64_t>(blocks * kBlockSize) + delta;
      if (length >= 0) lengths.push_back(static_cast<uint64_t>(length));
    }
  for (int bit = 21; bit < 63; ++bit)
    for (int64_t delta = -2; delta <= 2; ++delta) {
      const uint64_t length = (uint64_t{1} << bit) + static_cast<uint64_t>(delta);
      if (length <= kMaxFileSize) lengths.push_back(length);
    }
  for (uint64_t less = 0; less < 9000; less += 7)
    lengths.push_back(kMaxFileSize - less);
  return lengths;
}

TEST(GeometryTest, WorkedTotals) {
  EXPECT_EQ(BackingSize(0), 4096u);
  EXPECT_EQ(BackingSize(1), 4097u);
  EXPECT_EQ(BackingSize(4096), 8192u);
  EXPECT_EQ(BackingSize(131072), 135168u);
  EXPECT_EQ(BackingSize(131073), 139265u);
  EXPECT_EQ(BackingSize(393216), 401408u);
  EXPECT_EQ(BackingSize(393217), 405505u);
  EXPECT_EQ(BackingSize(uint64_t{1} << 30), 1090523136u);
  EXPECT_EQ(kMaxFileSize, 9081474005518540800u);
  EXPECT_EQ(EntryOffset(BlockNo(0)).value, 2048u);
  EXPECT_EQ(EntryOffset(BlockNo(31)).value, 4032u);
  EXPECT_EQ(EntryOffset(BlockNo(32)).value, 135168u);
  EXPECT_EQ(EntryOffset(BlockNo(95)).value, 139200u);
  EXPECT_EQ(EntryOffset(BlockNo(96)).value, 401408u);
  EXPECT_EQ(DataOffset(BlockNo(0)).value, 4096u);
  EXPECT_EQ(DataOffset(BlockNo(32)).value, 139264u);
  EXPECT_EQ(DataOffset(BlockNo(96)).value, 405504u);
}

TEST(GeometryTest, SizesAreABijection) {
  for (uint64_t length : InterestingLengths()) {
    const uint64_t backing = BackingSize(length);
    ASSERT_EQ(PlainSize(backing), length);
    ASSERT_TRUE(IsBackingSize(backing));
    if (length < kMaxFileSize) {
      ASSERT_LT(backing, BackingSize(length + 1)) << length;
    }
  }
}

TEST(GeometryTest, PlainSizeIsTheFloorForEveryBackingSize) {
  uint64_t previous = 0;
  for (uint64_t backing = 0; backing < 2 * kGroupSpan + kFirstGroupSpan; ++backing) {
    const uint64_t plain = PlainSize(backing);
    ASSERT_GE(plain, previous);
    ASSERT_LE(plain - previous, 1u);
    if (backing >= kPageSize) {
      ASSERT_LE(BackingSize(plain), backing);
      ASSERT_GT(BackingSize(plain + 1), backing);
    }
    ASSERT_EQ(IsBackingSize(backing),
              backing >= kPageSize && BackingSize(plain) == backing);
    previous = plain;
  }
}

TEST(GeometryTest, NothingOverlaps) {
  std::map<uint64_t, uint64_t> spans = {{0, 1024}, {1024, 1024}};
  for (uint64_t block = 0; block < 3000; ++block) {
    ASSERT_TRUE(spans.emplace(EntryOffset(BlockNo(block)).value, kEntrySize).second);
    ASSERT_TRUE(spans.emplace(DataOffset(BlockNo(block)).value, kBlockSize).second);
  }
  uint64_t end = 0;
  for (auto [offset, size] : spans) {
    ASSERT_GE(offset, end);
    end = offset + size;
  }
}

TEST(GeometryTest, EntriesAndDataArePlacedForAlignedPages) {
  for (uint64_t b = 0; b < 5000; ++b) {
    const BlockNo block(b);
    const GroupNo group = GroupOf(block);
    ASSERT_EQ(DataOffset(block).value % kPageSize, 0u);
    ASSERT_EQ(EntryPageOffset(group).value % kPageSize, 0u);
    ASSERT_LE(EntryInPage(block) + kEntrySize, kPageSize);
    ASSERT_LT(EntryOffset(block), DataOffset(block));
    ASSERT_LE(FirstBlockOf(group), block);
    ASSERT_LE(block, LastBlockOf(group));
    ASSERT_EQ(GroupOf(FirstBlockOf(group)), group);
    ASSERT_EQ(GroupOf(LastBlockOf(group)), group);
    ASSERT_EQ(GroupOf(BlockNo(LastBlockOf(group).value + 1)).value, group.value + 1);
  }
}

TEST(GeometryTest, BlocksAddUpToTheLength) {
  for (uint64_t length = 0; length < 70 * kBlockSize; length += 511) {
    uint64_t sum = 0;
    for (uint64_t b = 0; b < BlocksOf(length) + 2; ++b)
      sum += BlockBytes(BlockNo(b), length);
    ASSERT_EQ(sum, length);
  }
  EXPECT_EQ(GroupsOf(0), 0u);
  EXPECT_EQ(GroupsOf(1), 1u);
  EXPECT_EQ(GroupsOf(131072), 1u);
  EXPECT_EQ(GroupsOf(131073), 2u);
  EXPECT_EQ(GroupsOf(393216), 2u);
  EXPECT_EQ(GroupsOf(393217), 3u);
  EXPECT_EQ(BlocksOf(UINT64_MAX), uint64_t{1} << 52);
}

TEST(GeometryTest, TheLargestFileFitsOffT) {
  EXPECT_LE(BackingSize(kMaxFileSize), static_cast<uint64_t>(INT64_MAX));
  EXPECT_EQ(kMaxFileSize % kBlockSize, 0u);
  EXPECT_FALSE(IsBackingSize(UINT64_MAX));
  EXPECT_DEATH((void)BackingSize(kMaxFileSize + 1), "");
}

}  // namespace
}  // namespace keyfold
