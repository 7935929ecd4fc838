// Does top show what the daemon says, with rates of two answers, and nothing that could
// steer a terminal; and when is a mount idle?
#include <gtest/gtest.h>

#include "fs/cli/Idle.h"
#include "fs/cli/Top.h"

namespace keyfold {
namespace {

using nlohmann::json;
using std::chrono::seconds;

std::string Name(uid_t uid) {
  return uid == 1000 ? "cfo" : "user " + std::to_string(uid);
}

json Answer(double time, uint64_t reads, uint64_t uses) {
  return {{"Everything", true},
          {"Time", time},
          {"FilesNotShown", 0},
          {"Files",
           {{{"Uid", 1000},
             {"Pid", 42},
             {"Use", "write"},
             {"KeyId", "1234"},
             {"Alias", "alias/cfo"},
             {"Path", "/plan\x1b[31m"}}}},
          {"Users",
           {{{"Uid", 1000}, {"FileUses", uses}, {"KmsCalls", 1}, {"Refusals", 2}}}},
          {"Keys",
           {{{"KeyId", "1234"},
             {"Alias", "alias/cfo"},
             {"KeyState", "PendingDeletion"},
             {"DeletionDate", time + 3600}}}},
          {"Mount",
           {{"Operations", {{"read", reads}}},
            {"Failures", {{"io", 0}}},
            {"ReadBytes", 2048 * reads},
            {"WrittenBytes", 0}}}};
}

TEST(TopTest, RatesAreThoseBetweenTwoAnswers) {
  const std::string page = TopPage("/mnt", Answer(102, 30, 9), Answer(100, 10, 5), Name,
                                   100, Layout::kAligned);
  EXPECT_NE(page.find("requests/s 10.0, read 20.0 KiB/s"), std::string::npos) << page;
  EXPECT_NE(page.find("cfo   1     2.0     0.0      0.0        2"), std::string::npos)
      << page;
  EXPECT_NE(page.find("alias/cfo  PendingDeletion  1     deleted in 1:00:00"),
            std::string::npos)
      << page;
}

TEST(TopTest, ForProgramsATabStandsBetweenCells) {
  const std::string page =
      TopPage("/mnt", Answer(102, 30, 9), Answer(100, 10, 5), Name, 100, Layout::kTabs);
  EXPECT_NE(page.find("\ncfo\t1\t2.0\t0.0\t0.0\t2\n"), std::string::npos) << page;
}

TEST(TopTest, TheFirstPageHasNoRates) {
  const std::string page =
      TopPage("/mnt", Answer(100, 10, 5), json(), Name, 100, Layout::kAligned);
  EXPECT_NE(page.find("requests/s -, read -"), std::string::npos) << page;
}

TEST(TopTest, DaysAreCountedWhereTheyAreMany) {
  for (const auto& [left, told] : {std::pair(777'000.0, "deleted in 9 days"),
                                   std::pair(172'800.0, "deleted in 2 days"),
                                   std::pair(172'799.0, "deleted in 47:59:59")}) {
    json now = Answer(100, 1, 1);
    now["Keys"][0]["DeletionDate"] = 100 + left;
    const std::string page = TopPage("/mnt", now, json(), Name, 100, Layout::kAligned);
    EXPECT_NE(page.find(told), std::string::npos) << page;
  }
}

TEST(TopTest, NamesOfFilesCannotSteerTheTerminal) {
  EXPECT_EQ(TopPage("/mnt", Answer(1, 1, 1), json(), Name, 100, Layout::kAligned)
                .find('\x1b'),
            std::string::npos);
}

TEST(TopTest, APageHasAtMostTheLinesThereAre) {
  for (const size_t lines : {3u, 5u, 8u}) {
    const std::string page =
        TopPage("/mnt", Answer(1, 1, 1), json(), Name, lines, Layout::kAligned);
    EXPECT_EQ(static_cast<size_t>(std::count(page.begin(), page.end(), '\n')), lines);
    EXPECT_NE(page.find("more lines"), std::string::npos);
  }
}

TEST(IdleTest, RequestsCallsAndOpenFilesEndIt) {
  FileCounts counts;
  uint64_t calls = 0;
  const Idle::Time start{};
  Idle idle(
      counts, [&calls] { return calls; }, start);
  EXPECT_EQ(idle.For(start + seconds(5)), seconds(5));
  Up(counts.operations[static_cast<size_t>(FileOperation::kLookup)].buckets[2]);
  EXPECT_EQ(idle.For(start + seconds(6)), seconds(0));
  ++calls;
  EXPECT_EQ(idle.For(start + seconds(9)), seconds(0));
  counts.open_handles = 1;
  EXPECT_EQ(idle.For(start + seconds(20)), seconds(0));
  counts.open_handles = 0;
  Up(counts.operations[static_cast<size_t>(FileOperation::kOther)].buckets[0]);
  EXPECT_EQ(idle.For(start + seconds(27)), seconds(7));
  idle.Restart(start + seconds(30));
  EXPECT_EQ(idle.For(start + seconds(31)), seconds(1));
}

}  // namespace
}  // namespace keyfold
