// Does each condition operator hold when AWS's would?
#include <gtest/gtest.h>

#include "policy/engine/Match.h"

namespace keyfold::policy {
namespace {

using Values = std::vector<std::string>;

bool Holds(const std::string& op, const Values& wants, const Context& context,
           const std::string& key = "kms:ViaService", Effect effect = Effect::kAllow) {
  Statement statement;
  statement.effect = effect;
  statement.conditions = {{op, key, wants}};
  Principal principal;
  principal.arn = "arn:aws:iam::000000000000:user/cfo";
  principal.user_name = "cfo";
  principal.tags = {{"department", "finance"}};
  return MatchConditions(statement, {"kms:Decrypt", "*", context},
                         {&principal, "000000000000"});
}

Context With(Values values) { return {{"kms:ViaService", std::move(values)}}; }

struct Case {
  const char* op;
  Values wants, haves;
  bool holds;
};

TEST(ConditionTest, OperatorsCompareOneValue) {
  const Case cases[] = {
      {"StringEquals", {"fs"}, {"fs"}, true},
      {"StringEquals", {"fs"}, {"FS"}, false},
      {"StringEquals", {"f*"}, {"fs"}, false},
      {"StringEquals", {"a", "fs"}, {"fs"}, true},
      {"StringNotEquals", {"fs"}, {"fs"}, false},
      {"StringNotEquals", {"a", "b"}, {"fs"}, true},
      {"StringNotEquals", {"a", "fs"}, {"fs"}, false},
      {"StringEqualsIgnoreCase", {"fs"}, {"FS"}, true},
      {"StringNotEqualsIgnoreCase", {"fs"}, {"FS"}, false},
      {"StringLike", {"f?*"}, {"fs"}, true},
      {"StringLike", {"F*"}, {"fs"}, false},
      {"StringNotLike", {"f*"}, {"fs"}, false},
      {"StringNotLike", {"g*"}, {"fs"}, true},
      {"Bool", {"true"}, {"True"}, true},
      {"Bool", {"false"}, {"true"}, false},
      {"Bool", {"true"}, {"perhaps"}, false},
      {"NumericEquals", {"10"}, {"10.0"}, true},
      {"NumericNotEquals", {"10"}, {"10"}, false},
      {"NumericLessThan", {"10"}, {"9"}, true},
      {"NumericLessThan", {"10"}, {"10"}, false},
      {"NumericLessThanEquals", {"10"}, {"10"}, true},
      {"NumericGreaterThan", {"10"}, {"11"}, true},
      {"NumericGreaterThan", {"10"}, {"9"}, false},
      {"NumericGreaterThanEquals", {"10"}, {"10"}, true},
      {"NumericLessThan", {"10"}, {"few"}, false},
      {"DateEquals", {"2026-01-31T12:00:00Z"}, {"2026-01-31T13:00:00+01:00"}, true},
      {"DateNotEquals", {"2026-01-31"}, {"2026-01-31T00:00:00Z"}, false},
      {"DateLessThan", {"2026-01-31T18:00:00Z"}, {"2026-01-31T17:59:59Z"}, true},
      {"DateLessThan", {"2026-01-31T18:00:00Z"}, {"2026-01-31T18:00:00Z"}, false},
      {"DateLessThanEquals", {"2026-01-31"}, {"2026-01-31T00:00:00Z"}, true},
      {"DateGreaterThan", {"2026-01-31"}, {"2026-02-01T00:00:00Z"}, true},
      {"DateGreaterThan", {"2026-01-31"}, {"0"}, false},
      {"DateGreaterThanEquals", {"86400"}, {"1970-01-02"}, true},
      {"ArnEquals", {"arn:aws:kms:*:*:key/*"}, {"arn:aws:kms:r:1:key/a"}, true},
      {"ArnLike", {"arn:aws:kms:*:key/*"}, {"arn:aws:kms:r:1:key/a"}, false},
      {"ArnNotEquals", {"arn:aws:kms:r:1:key/a"}, {"arn:aws:kms:r:1:key/a"}, false},
      {"ArnNotLike", {"arn:aws:s3:::*"}, {"arn:aws:kms:r:1:key/a"}, true},
      {"Null", {"true"}, {"x"}, false},
      {"Null", {"false"}, {"x"}, true},
  };
  for (const Case& c : cases)
    EXPECT_EQ(Holds(c.op, c.wants, With(c.haves)), c.holds)
        << c.op << " " << c.wants[0] << " " << c.haves[0];
}

TEST(ConditionTest, MissingKeyFailsPositiveOperatorsAndPassesNegatedOnes) {
  const Case cases[] = {
      {"StringEquals", {"a"}, {}, false},
      {"StringLike", {"*"}, {}, false},
      {"Bool", {"false"}, {}, false},
      {"NumericLessThan", {"1"}, {}, false},
      {"DateLessThan", {"2030-01-01"}, {}, false},
      {"ArnLike", {"*"}, {}, false},
      {"StringNotEquals", {"a"}, {}, true},
      {"StringNotLike", {"*"}, {}, true},
      {"NumericNotEquals", {"1"}, {}, true},
      {"ArnNotLike", {"*"}, {}, true},
      {"StringEqualsIfExists", {"a"}, {}, true},
      {"BoolIfExists", {"true"}, {}, true},
      {"ArnNotEqualsIfExists", {"arn:aws:x:::a"}, {}, true},
      {"Null", {"true"}, {}, true},
      {"Null", {"false"}, {}, false},
      {"ForAnyValue:StringEquals", {"a"}, {}, false},
      {"ForAnyValue:StringNotEquals", {"a"}, {}, false},
      {"ForAnyValue:StringEqualsIfExists", {"a"}, {}, false},
      {"ForAllValues:StringEquals", {"a"}, {}, true},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Holds(c.op, c.wants, {}), c.holds) << c.op;
    EXPECT_EQ(Holds(c.op, c.wants, With({})), c.holds) << c.op << " with an empty list";
  }
}

TEST(ConditionTest, IfExistsStillComparesWhatExists) {
  EXPECT_FALSE(Holds("StringEqualsIfExists", {"a"}, With({"b"})));
  EXPECT_TRUE(Holds("StringEqualsIfExists", {"a"}, With({"a"})));
}

TEST(ConditionTest, SetPrefixesCountTheRequestsValues) {
  const Case cases[] = {
      {"ForAnyValue:StringEquals", {"a", "b"}, {"c", "b"}, true},
      {"ForAnyValue:StringEquals", {"a", "b"}, {"c", "d"}, false},
      {"ForAnyValue:StringNotEquals", {"a"}, {"a", "b"}, true},
      {"ForAnyValue:StringNotEquals", {"a"}, {"a", "a"}, false},
      {"ForAllValues:StringEquals", {"a", "b"}, {"a", "b"}, true},
      {"ForAllValues:StringEquals", {"a", "b"}, {"a", "c"}, false},
      {"ForAllValues:StringNotLike", {"a*"}, {"b", "c"}, true},
      {"ForAllValues:StringNotLike", {"a*"}, {"b", "ab"}, false},
      {"StringEquals", {"a"}, {"a", "b"}, true},
      {"StringNotEquals", {"a"}, {"a", "b"}, false},
  };
  for (const Case& c : cases)
    EXPECT_EQ(Holds(c.op, c.wants, With(c.haves)), c.holds)
        << c.op << " " << c.haves[1];
}

TEST(ConditionTest, KeysAreFoundInAnyCase) {
  EXPECT_TRUE(Holds("StringEquals", {"fs"}, With({"fs"}), "KMS:viaservice"));
  EXPECT_FALSE(Holds("StringEquals", {"fs"}, With({"fs"}), "kms:ViaServices"));
}

TEST(ConditionTest, ExactKeyIsPreferred) {
  const Context context = {{"kms:EncryptionContext:DEPT", {"mine"}},
                           {"kms:EncryptionContext:dept", {"theirs"}}};
  EXPECT_TRUE(Holds("StringEquals", {"theirs"}, context, "kms:EncryptionContext:dept"));
  EXPECT_FALSE(Holds("StringEquals", {"mine"}, context, "kms:EncryptionContext:dept"));
}

TEST(ConditionTest, PrincipalKeysComeFromTheAskerWhateverTheContextSays) {
  const Context lie = {{"aws:username", {"ceo"}},
                       {"aws:PrincipalTag/department", {"board"}},
                       {"aws:PrincipalArn", {"arn:aws:iam::000000000000:user/ceo"}}};
  EXPECT_TRUE(Holds("StringEquals", {"cfo"}, lie, "aws:username"));
  EXPECT_FALSE(Holds("StringEquals", {"ceo"}, lie, "aws:username"));
  EXPECT_TRUE(Holds("StringEquals", {"finance"}, lie, "aws:PrincipalTag/Department"));
  EXPECT_TRUE(Holds("ArnLike", {"arn:aws:iam::*:user/cfo"}, lie, "aws:principalarn"));
  EXPECT_TRUE(Holds("StringEquals", {"000000000000"}, lie, "aws:PrincipalAccount"));
  EXPECT_TRUE(Holds("StringEquals", {"User"}, lie, "aws:PrincipalType"));
  const Context tag = {{"aws:PrincipalTag/rank", {"high"}}};
  EXPECT_FALSE(Holds("StringEquals", {"high"}, tag, "aws:PrincipalTag/rank"));
}

TEST(ConditionTest, UnknownOperatorFailsAllowAndHoldsForDeny) {
  EXPECT_FALSE(Holds("IpAddress", {"10.0.0.0/8"}, With({"x"})));
  EXPECT_TRUE(
      Holds("IpAddress", {"10.0.0.0/8"}, With({"x"}), "kms:ViaService", Effect::kDeny));
}

TEST(ConditionTest, AllConditionsMustHold) {
  Statement statement;
  statement.conditions = {{"StringEquals", "a:b", {"1"}},
                          {"StringEquals", "a:c", {"2"}}};
  const Principal nobody;
  const Asker asker{&nobody, ""};
  EXPECT_TRUE(
      MatchConditions(statement, {"", "", {{"a:b", {"1"}}, {"a:c", {"2"}}}}, asker));
  EXPECT_FALSE(
      MatchConditions(statement, {"", "", {{"a:b", {"1"}}, {"a:c", {"3"}}}}, asker));
}

}  // namespace
}  // namespace keyfold::policy
