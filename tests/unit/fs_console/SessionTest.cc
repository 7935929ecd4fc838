// Is the token good once, for ten minutes, and for nobody who does not have all of it?
#include <gtest/gtest.h>

#include "fs/console/Session.h"

namespace keyfold {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

TEST(SessionTest, TheTokenIsGoodOnce) {
  Session session;
  EXPECT_EQ(session.token().size(), 43u);
  EXPECT_FALSE(session.Holds(""));
  const auto cookie = session.Exchange(session.token());
  ASSERT_TRUE(cookie.has_value());
  EXPECT_TRUE(session.Holds(*cookie));
  EXPECT_FALSE(session.Exchange(session.token()).has_value());
  EXPECT_FALSE(session.Holds(session.token()));
}

TEST(SessionTest, AnotherTokenOpensNothingAndSpoilsNothing) {
  Session session;
  for (const std::string& wrong : {std::string(), session.token().substr(1),
                                   session.token() + "A", Session().token()})
    EXPECT_FALSE(session.Exchange(wrong).has_value());
  EXPECT_TRUE(session.Exchange(session.token()).has_value());
}

TEST(SessionTest, TheTokenEndsAfterTenMinutesAndTheSessionDoesNot) {
  FakeClock clock(TimePoint(minutes(1)));
  Session late(clock), early(clock);
  clock.Advance(minutes(10));
  const auto cookie = early.Exchange(early.token());
  ASSERT_TRUE(cookie.has_value());
  clock.Advance(seconds(1));
  EXPECT_FALSE(late.Exchange(late.token()).has_value());
  EXPECT_TRUE(early.Holds(*cookie));
}

}  // namespace
}  // namespace keyfold
