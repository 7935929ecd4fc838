// Does a rate limit come to the rate, and does a journal bring back what a run that was
// killed had done?
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "fs/cli/Figures.h"
#include "fs/cli/RateLimit.h"
#include "fs/cli/RekeyJournal.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

TEST(RateLimitTest, PausesMakeUpTheRate) {
  const RateLimit limit(50 << 20);
  double seconds = 0;
  uint64_t done = 0;
  while (done < 500 << 20) {
    done += limit.Part(8 << 20);
    seconds += 0.02;  // what the work took
    seconds += limit.Pause(done, seconds);
  }
  EXPECT_NEAR(seconds, static_cast<double>(done) / (50 << 20), 1e-6);
  EXPECT_EQ(limit.Pause(50 << 20, 1.5), 0);
  EXPECT_DOUBLE_EQ(limit.Pause(100 << 20, 1.5), 0.5);
}

TEST(RateLimitTest, PartsAreSmallEnoughAndNeverNothing) {
  EXPECT_EQ(RateLimit().Part(8 << 20), uint64_t{8} << 20);
  EXPECT_EQ(RateLimit(1 << 30).Part(8 << 20), uint64_t{8} << 20);
  EXPECT_EQ(RateLimit(4 << 20).Part(8 << 20), uint64_t{1} << 20);
  EXPECT_EQ(RateLimit(4096).Part(8 << 20), uint64_t{64} << 10);
  EXPECT_EQ(RateLimit().Pause(uint64_t{1} << 40, 0), 0);
}

TEST(FiguresTest, SizesAreReadWholeOrNotAtAll) {
  EXPECT_EQ(ParseSize("4096"), 4096u);
  EXPECT_EQ(ParseSize("500K"), 512000u);
  EXPECT_EQ(ParseSize("50M"), uint64_t{50} << 20);
  EXPECT_EQ(ParseSize("1G"), uint64_t{1} << 30);
  for (const char* text : {"", "M", "-1", "1T", "1MB", "1.5M", " 1", "99999999999G"})
    EXPECT_FALSE(ParseSize(text).has_value()) << text;
}

class RekeyJournalTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::setenv("XDG_STATE_HOME", folder_.path().c_str(), 1), 0);
  }
  void TearDown() override { ::unsetenv("XDG_STATE_HOME"); }
  static std::string Id(char digit) { return std::string(32, digit); }

  TempFolder folder_;
};

TEST_F(RekeyJournalTest, WhatARunDidIsKnownToTheNextOfTheSamePaths) {
  {
    auto journal = RekeyJournal::Open({"/a"}, "k", false);
    ASSERT_TRUE(journal.ok()) << journal.status().ToString();
    ASSERT_TRUE(journal->Add(Id('1')).ok());
    ASSERT_TRUE(journal->Add(Id('2')).ok());
    EXPECT_EQ(RekeyJournal::Open({"/a"}, "k", false).status().error(), Error::kLocked);
    EXPECT_FALSE(RekeyJournal::Open({"/b"}, "k", false)->Has(Id('1')));
    EXPECT_FALSE(RekeyJournal::Open({"/a"}, "l", false)->Has(Id('1')));
  }
  auto next = RekeyJournal::Open({"/a"}, "k", false);
  EXPECT_TRUE(next->Has(Id('1')) && next->Has(Id('2')));
  next->Remove();
  *next = RekeyJournal::Open({"/a"}, "k", false).value();
  EXPECT_EQ(next->size(), 0u);
}

TEST_F(RekeyJournalTest, ALineCutOffIsLeftOut) {
  (void)RekeyJournal::Open({"/a"}, "k", false)->Add(Id('1'));
  std::string path;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "keyfold"))
    path = entry.path();
  std::ofstream(path, std::ios::app) << "2222";
  {
    auto journal = RekeyJournal::Open({"/a"}, "k", false);
    EXPECT_EQ(journal->size(), 1u);
    ASSERT_TRUE(journal->Add(Id('3')).ok());
  }
  auto journal = RekeyJournal::Open({"/a"}, "k", false);
  EXPECT_TRUE(journal->Has(Id('1')) && journal->Has(Id('3')));
  EXPECT_EQ(journal->size(), 2u);
}

TEST_F(RekeyJournalTest, RestartForgets) {
  (void)RekeyJournal::Open({"/a"}, "k", false)->Add(Id('1'));
  EXPECT_EQ(RekeyJournal::Open({"/a"}, "k", true)->size(), 0u);
}

}  // namespace
}  // namespace keyfold
