// Does a line of progress fit its terminal, and say what matters most where there is
// little room?
#include <gtest/gtest.h>

#include <algorithm>

#include "fs/cli/ProgressLine.h"

namespace keyfold {
namespace {

constexpr char kText[] = "7 files of 30, 1.2 MiB of 5.3 MiB, 4.0 MiB/s, 0:01 left";

TEST(ProgressBarTest, TheBarTakesTheRoomThatTheTextLeaves) {
  EXPECT_EQ(ProgressBar(kText, 0.42, 80),
            "[#####         ]  42 %  " + std::string(kText));
  EXPECT_EQ(ProgressBar(kText, 0.42, 1000),
            "[################                        ]  42 %  " + std::string(kText));
}

TEST(ProgressBarTest, WhereThereIsLittleRoomTheRateAndTheTimeLeftStay) {
  EXPECT_EQ(ProgressBar(kText, 0.42, 41), "[####      ]  42 %  4.0 MiB/s, 0:01 left");
  EXPECT_EQ(ProgressBar(kText, 0.42, 30), "[####      ]  42 %  0:01 left");
  EXPECT_EQ(ProgressBar(kText, 0.42, 21), "[####      ]  42 %");
  EXPECT_EQ(ProgressBar(kText, 0.42, 20), "0:01 left");
  EXPECT_EQ(ProgressBar(kText, 0.42, 9), "");
}

TEST(ProgressBarTest, NoLineWrapsAndNoBarGoesBack) {
  for (size_t columns = 0; columns < 200; ++columns) {
    size_t before = 0;
    for (int done = 0; done <= 100; ++done) {
      const std::string line = ProgressBar(kText, done / 100.0, columns);
      ASSERT_LT(line.size(), std::max<size_t>(columns, 1)) << line;
      const auto full = static_cast<size_t>(std::count(line.begin(), line.end(), '#'));
      ASSERT_GE(full, before) << line;
      before = full;
    }
  }
}

TEST(ProgressBarTest, AHundredPerCentIsAllAndNothingIsMore) {
  EXPECT_EQ(ProgressBar("", 0, 30), "[                   ]   0 %");
  EXPECT_EQ(ProgressBar("", 0.9999, 30), "[################## ]  99 %");
  EXPECT_EQ(ProgressBar("", 1, 30), "[###################] 100 %");
  EXPECT_EQ(ProgressBar("", 1.5, 30), ProgressBar("", 1, 30));
}

TEST(ProgressBarTest, WithoutAnEndThereIsNoBar) {
  EXPECT_EQ(ProgressBar(kText, std::nullopt, 80), kText);
  EXPECT_EQ(ProgressBar(kText, std::nullopt, 30), "4.0 MiB/s, 0:01 left");
}

}  // namespace
}  // namespace keyfold
