// Are numbers, dates and operators' names read as AWS writes them?
#include <gtest/gtest.h>

#include "policy/model/ConditionOperator.h"
#include "policy/model/Model.h"

namespace keyfold::policy {
namespace {

TEST(ConditionValueTest, DatesAreIso8601OrSeconds) {
  struct Case {
    const char* text;
    double seconds;
  };
  for (const Case& c :
       {Case{"1970-01-01", 0}, Case{"1970-01-01T00:00:00Z", 0},
        Case{"1970-01-01T00:01Z", 60}, Case{"1970-01-01T01:00:00+01:00", 0},
        Case{"1969-12-31T23:30:00-00:30", 0}, Case{"1970-01-01T00:00:00.250Z", 0.25},
        Case{"2026-01-31T12:00:00Z", 1769860800}, Case{"2024-02-29", 1709164800},
        Case{"1769860800", 1769860800}, Case{"12.5", 12.5}, Case{"-1", -1}}) {
    const auto date = ParseDate(c.text);
    ASSERT_TRUE(date) << c.text;
    EXPECT_DOUBLE_EQ(*date, c.seconds) << c.text;
  }
}

TEST(ConditionValueTest, OtherTextIsNoDate) {
  for (const char* text :
       {"", "today", "2026-1-1", "2026-13-01", "2026-02-30", "2025-02-29",
        "2026-01-31T", "2026-01-31T12:00:00", "2026-01-31T24:00:00Z",
        "2026-01-31T12:60Z", "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00+1:00",
        "2026-01-31T12:00:00Zx", "2026-01-31 12:00:00Z", "inf", "1e999", "12s"})
    EXPECT_FALSE(ParseDate(text)) << text;
}

TEST(ConditionValueTest, NumbersAreFiniteDecimals) {
  EXPECT_DOUBLE_EQ(*ParseNumber("10"), 10);
  EXPECT_DOUBLE_EQ(*ParseNumber("-2.5"), -2.5);
  for (const char* text :
       {"", " 1", "1 ", "nan", "inf", "-inf", "1e999", "0x10", "ten"})
    EXPECT_FALSE(ParseNumber(text)) << text;
}

TEST(ConditionValueTest, OperatorsTakePrefixAndSuffix) {
  const auto op = ParseConditionOperator("ForAnyValue:StringNotLikeIfExists");
  ASSERT_TRUE(op);
  EXPECT_EQ(op->comparison, Comparison::kStringLike);
  EXPECT_TRUE(op->negated);
  EXPECT_TRUE(op->if_exists);
  EXPECT_EQ(op->set, ConditionOperator::Set::kAnyValue);
  for (const char* name :
       {"", "stringEquals", "StringEqual", "IpAddress", "NotIpAddress", "NullIfExists",
        "ForAnyValue:Null", "ForAllValues:", "ForSomeValues:StringEquals", "IfExists",
        "BinaryEquals", "ForAnyValue:ForAllValues:StringEquals"})
    EXPECT_FALSE(ParseConditionOperator(name)) << name;
}

TEST(ModelTest, ShortFormsNamePrincipals) {
  EXPECT_EQ(ShortPrincipal(UserArn("0", "cfo")), "user:cfo");
  EXPECT_EQ(ShortPrincipal(UserArn("0", "uid:7")), "user:uid:7");
  EXPECT_EQ(ShortPrincipal(GroupArn("0", "finance")), "group:finance");
  EXPECT_EQ(ShortPrincipal(RoleArn("0", "auditor")), "role:auditor");
  EXPECT_EQ(ShortPrincipal(ServiceArn("0")), "service:keyfold");
  EXPECT_EQ(ShortPrincipal(RootArn("0")), "account");
  EXPECT_EQ(ShortPrincipal("*"), "everyone");
  EXPECT_EQ(ShortPrincipal("something"), "something");
  EXPECT_EQ(PrincipalKind("arn:aws:iam::0"), "");
  EXPECT_EQ(PrincipalKind("arn:aws:iam::0:rootless"), "");
}

}  // namespace
}  // namespace keyfold::policy
