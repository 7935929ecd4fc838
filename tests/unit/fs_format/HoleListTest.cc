// Does HoleList say of every group what a plain set of groups would say?
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "fs/format/HoleList.h"

namespace keyfold {
namespace {

uint64_t LengthOfGroups(uint64_t groups) {
  return groups == 0 ? 0 : (LastBlockOf(GroupNo(groups - 1)).value + 1) * kBlockSize;
}

size_t RunsIn(const std::set<uint64_t>& groups) {
  size_t runs = 0;
  for (uint64_t group : groups) runs += groups.count(group - 1) == 0 ? 1 : 0;
  return runs;
}

void ExpectSame(const HoleList& list, const std::set<uint64_t>& model, uint64_t bound) {
  for (uint64_t group = 0; group < bound; ++group)
    ASSERT_EQ(list.Contains(GroupNo(group)), model.count(group) == 1) << group;
  ASSERT_EQ(list.ranges().size(), RunsIn(model));
  auto again = HoleList::FromRanges(list.ranges(), LengthOfGroups(bound));
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  ASSERT_EQ(*again, list);
}

TEST(HoleListTest, AgreesWithANaiveModel) {
  constexpr uint64_t kBound = 160;
  size_t refused = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937_64 random(seed);
    HoleList list;
    std::set<uint64_t> model;
    for (int step = 0; step < 300; ++step) {
      std::set<uint64_t> wanted = model;
      const uint64_t first = 1 + random() % (kBound - 1);
      const unsigned what = random() % 20;
      if (what == 0) {
        const uint64_t groups = kBound / 2 + random() % (kBound / 2);
        list.TruncateTo(LengthOfGroups(groups) - random() % kBlockSize);
        model.erase(model.lower_bound(groups), model.end());
      } else {
        Status status;
        if (what < 12) {
          const uint64_t count = std::min<uint64_t>(random() % 4, kBound - first);
          for (uint64_t i = 0; i < count; ++i) wanted.insert(first + i);
          status = list.Add({GroupNo(first), count});
        } else {
          wanted.erase(first);
          status = list.Remove(GroupNo(first));
        }
        if (RunsIn(wanted) <= kMaxHoles) {
          ASSERT_TRUE(status.ok()) << status.ToString();
          model = wanted;
        } else {
          ASSERT_EQ(status.error(), Error::kLimitExceeded);
          ++refused;
        }
      }
      ASSERT_NO_FATAL_FAILURE(ExpectSame(list, model, kBound));
    }
  }
  EXPECT_GT(refused, 0u);
}

TEST(HoleListTest, GroupZeroIsNeverAHole) {
  HoleList list;
  EXPECT_EQ(list.Add({GroupNo(0), 1}).error(), Error::kValidation);
  EXPECT_EQ(list.Add({GroupNo(1), UINT64_MAX}).error(), Error::kValidation);
  EXPECT_EQ(list.Add({GroupNo(kMaxGroups), 1}).error(), Error::kValidation);
  EXPECT_TRUE(list.Add({GroupNo(1), kMaxGroups - 1}).ok());
  EXPECT_FALSE(list.Contains(GroupNo(0)));
  EXPECT_TRUE(list.Contains(GroupNo(kMaxGroups - 1)));
}

TEST(HoleListTest, FromRangesRefusesWhatIsNotCanonical) {
  const uint64_t length = LengthOfGroups(100);
  auto refused = [&](std::vector<HoleRange> ranges) {
    auto result = HoleList::FromRanges(std::move(ranges), length);
    return !result.ok() && result.status().error() == Error::kCorrupt;
  };
  EXPECT_TRUE(refused({{GroupNo(0), 1}}));
  EXPECT_TRUE(refused({{GroupNo(1), 0}}));
  EXPECT_TRUE(refused({{GroupNo(1), 100}}));
  EXPECT_TRUE(refused({{GroupNo(100), 1}}));
  EXPECT_TRUE(refused({{GroupNo(1), UINT64_MAX}}));
  EXPECT_TRUE(refused({{GroupNo(5), 2}, {GroupNo(7), 1}}));  // adjacent
  EXPECT_TRUE(refused({{GroupNo(5), 3}, {GroupNo(6), 1}}));  // overlap
  EXPECT_TRUE(refused({{GroupNo(9), 1}, {GroupNo(5), 1}}));  // order
  std::vector<HoleRange> many;
  for (uint64_t i = 0; i <= kMaxHoles; ++i) many.push_back({GroupNo(1 + 2 * i), 1});
  EXPECT_TRUE(refused(many));
  many.pop_back();
  EXPECT_FALSE(refused(many));
  EXPECT_FALSE(refused({{GroupNo(1), 99}}));
}

TEST(HoleListTest, RoomIsMadeByTheSmallestRange) {
  HoleList list;
  EXPECT_FALSE(list.SmallestRange().has_value());
  for (uint64_t i = 0; i < kMaxHoles; ++i)
    ASSERT_TRUE(list.Add({GroupNo(1 + 10 * i), i == 7 ? 2u : 5u}).ok());
  EXPECT_TRUE(list.full());
  EXPECT_EQ(list.Remove(GroupNo(3)).error(), Error::kLimitExceeded);
  EXPECT_TRUE(list.Contains(GroupNo(3)));
  const HoleRange smallest = *list.SmallestRange();
  EXPECT_EQ(smallest, (HoleRange{GroupNo(71), 2}));
  EXPECT_TRUE(list.RemoveRange(smallest));
  EXPECT_FALSE(list.RemoveRange(smallest));
  EXPECT_TRUE(list.Remove(GroupNo(3)).ok());
}

TEST(HoleListTest, ACutHoleGroupStays) {
  HoleList list;
  ASSERT_TRUE(list.Add({GroupNo(1), 5}).ok());
  list.TruncateTo(LengthOfGroups(3) - 1);
  EXPECT_TRUE(list.Contains(GroupNo(2)));
  EXPECT_FALSE(list.Contains(GroupNo(3)));
  EXPECT_TRUE(list.FitsLength(LengthOfGroups(3) - 1));
  EXPECT_FALSE(list.FitsLength(LengthOfGroups(2)));
  list.TruncateTo(0);
  EXPECT_TRUE(list.empty());
}

}  // namespace
}  // namespace keyfold
