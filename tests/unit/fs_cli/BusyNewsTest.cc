// Does an unmount tell of those who use the mount when they change, and of nobody only
// when that lasts?
#include <gtest/gtest.h>

#include "fs/cli/BusyNews.h"

namespace keyfold {
namespace {

const std::vector<BusyProcess> kNobody;
const std::vector<BusyProcess> kOne = {{12, 0, "bash", {"/mnt/a"}, true}};
const std::vector<BusyProcess> kOther = {{13, 0, "cat", {"/mnt/a"}, false}};

TEST(BusyNewsTest, EachChangeIsToldOnce) {
  BusyNews news;
  EXPECT_TRUE(news.IsNews(kOne));
  EXPECT_FALSE(news.IsNews(kOne));
  EXPECT_TRUE(news.IsNews(kOther));
  EXPECT_FALSE(news.IsNews(kOther));
}

TEST(BusyNewsTest, NobodyIsToldAtTheSecondLookAndOnce) {
  BusyNews news;
  EXPECT_FALSE(news.IsNews(kNobody));
  EXPECT_TRUE(news.IsNews(kNobody));
  EXPECT_FALSE(news.IsNews(kNobody));
}

TEST(BusyNewsTest, NobodyForALookBetweenOthersIsNoNews) {
  BusyNews news;
  EXPECT_TRUE(news.IsNews(kOne));
  EXPECT_FALSE(news.IsNews(kNobody));
  EXPECT_FALSE(news.IsNews(kOne));
  EXPECT_FALSE(news.IsNews(kNobody));
  EXPECT_TRUE(news.IsNews(kNobody));
}

TEST(BusyNewsTest, WhoSeesAllProcessesIsNotToldOfOnesThatCannotBeSeen) {
  const std::string hidden = "another user's process";
  EXPECT_EQ(InUseBy(kNobody, true).find(hidden), std::string::npos);
  EXPECT_NE(InUseBy(kNobody, false).find(hidden), std::string::npos);
  EXPECT_EQ(InUseBy(kOne, true), "in use by 12 (bash) of root: writes /mnt/a");
}

}  // namespace
}  // namespace keyfold
