// Does what a walk says it has done hold all that is done, and nothing that isn't?
#include <gtest/gtest.h>

#include <thread>

#include "fs/vault/WalkOrder.h"

namespace keyfold {
namespace {

TEST(WalkOrderTest, ReachesNoFurtherThanTheFirstThatIsOpen) {
  WalkOrder order({});
  const uint64_t a = order.Begin({"a"}), b = order.Begin({"b"}), c = order.Begin({"c"});
  EXPECT_TRUE(order.Reached().through.empty());
  order.Done(c);
  EXPECT_TRUE(order.Reached().through.empty());
  EXPECT_EQ(order.Reached().beyond, std::vector<WalkPosition>{{"c"}});
  order.Done(a);
  EXPECT_EQ(order.Reached().through, WalkPosition{"a"});
  EXPECT_EQ(order.Reached().beyond, std::vector<WalkPosition>{{"c"}});
  order.Done(b);
  EXPECT_EQ(order.Reached().through, WalkPosition{"c"});
  EXPECT_TRUE(order.Reached().beyond.empty());
}

TEST(WalkOrderTest, KeepsWhatAnEarlierWalkHasDone) {
  WalkOrder order({{"a", "b"}, {{"d"}}});
  EXPECT_EQ(order.Reached().through, (WalkPosition{"a", "b"}));
  order.Done(order.Begin({"c"}));
  EXPECT_EQ(order.Reached().through, WalkPosition{"c"});
  EXPECT_EQ(order.Reached().beyond, std::vector<WalkPosition>{{"d"}});
}

TEST(WalkOrderTest, ClosingEndsAWait) {
  WalkOrder order({});
  for (int i = 0; i < 1 << 16; ++i) order.Begin({"x"});
  std::thread waits([&] { order.Begin({"y"}); });
  order.Close();
  waits.join();
}

}  // namespace
}  // namespace keyfold
