// Are dates read and written as ISO 8601 has them, and no others?
#include <gtest/gtest.h>

#include <ctime>

#include "kms/base/Clock.h"
#include "kms/base/IsoTime.h"

namespace keyfold {
namespace {

using std::chrono::milliseconds;

TimePoint At(int64_t seconds) { return TimePoint(milliseconds(seconds * 1000)); }

TEST(ClockTest, UtcIsWrittenToTheSecond) {
  EXPECT_EQ(FormatUtc(At(0)), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatUtc(TimePoint(milliseconds(999))), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatUtc(At(1709164799)), "2024-02-28T23:59:59Z");
  EXPECT_EQ(FormatUtc(At(1709164800)), "2024-02-29T00:00:00Z");
  EXPECT_EQ(FormatUtc(At(253402300799)), "9999-12-31T23:59:59Z");
  EXPECT_EQ(FormatUtc(At(-1)), "1969-12-31T23:59:59Z");
}

TEST(ClockTest, AFakeClockMovesWhenTold) {
  FakeClock clock(At(100));
  EXPECT_EQ(clock.Now(), At(100));
  clock.Advance(std::chrono::hours(24 * 7));
  EXPECT_EQ(clock.Now(), At(100 + 7 * 86400));
}

TEST(ClockTest, TheSystemsClockIsTheMachines) {
  const auto now = std::chrono::floor<std::chrono::seconds>(Clock::System().Now());
  EXPECT_NEAR(static_cast<double>(now.time_since_epoch().count()),
              static_cast<double>(std::time(nullptr)), 2);
}

std::optional<int64_t> Microseconds(std::string_view text,
                                    TimeZone zone = TimeZone::kRequired) {
  const auto time = ParseIso8601(text, zone);
  if (!time) return std::nullopt;
  return time->time_since_epoch().count();
}

TEST(IsoTimeTest, ReadsDatesTimesFractionsAndZones) {
  EXPECT_EQ(Microseconds("1970-01-01"), 0);
  EXPECT_EQ(Microseconds("2024-02-29"), 1709164800 * int64_t{1000000});
  EXPECT_EQ(Microseconds("1970-01-01T00:01Z"), 60'000'000);
  EXPECT_EQ(Microseconds("1970-01-01T00:00:01.5Z"), 1'500'000);
  EXPECT_EQ(Microseconds("1970-01-01T00:00:00.1234569Z"), 123'456);
  EXPECT_EQ(Microseconds("1970-01-01T02:00:00+02:00"), 0);
  EXPECT_EQ(Microseconds("1969-12-31T22:30:00-01:30"), 0);
}

TEST(IsoTimeTest, TheZoneIsRequiredWhereItMatters) {
  EXPECT_EQ(Microseconds("1970-01-01T00:01:00"), std::nullopt);
  EXPECT_EQ(Microseconds("1970-01-01T00:01:00", TimeZone::kOptional), 60'000'000);
}

TEST(IsoTimeTest, WhatIsNoDateIsRefused) {
  for (const char* bad : {"",
                          "1970",
                          "1970-1-1",
                          "1970-13-01",
                          "1970-00-01",
                          "1970-01-00",
                          "1970-02-30",
                          "2023-02-29",
                          "1970-01-01T",
                          "1970-01-01T24:00Z",
                          "1970-01-01T00:60Z",
                          "1970-01-01T00:00:61Z",
                          "1970-01-01T00:00:00.Z",
                          "1970-01-01T00:00:00Zx",
                          "1970-01-01T00:00+1",
                          "1970-01-01T00:00+24:00",
                          "1970-01-01 00:00Z",
                          " 1970-01-01",
                          "1970-01-01 ",
                          "+970-01-01",
                          "19700101",
                          "1970-01-0\xff"})
    for (TimeZone zone : {TimeZone::kRequired, TimeZone::kOptional})
      EXPECT_EQ(Microseconds(bad, zone), std::nullopt) << bad;
}

}  // namespace
}  // namespace keyfold
