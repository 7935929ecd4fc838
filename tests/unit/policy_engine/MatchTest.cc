// Does a pattern fit a text, as AWS's wildcards do?
#include <gtest/gtest.h>

#include "policy/engine/Match.h"

namespace keyfold::policy {
namespace {

struct Case {
  const char* pattern;
  const char* text;
  bool matches;
};

TEST(MatchTest, WildcardsStandForRunsAndSingleCharacters) {
  const Case cases[] = {
      {"*", "", true},
      {"*", "anything", true},
      {"", "", true},
      {"", "a", false},
      {"a", "a", true},
      {"a", "A", false},
      {"?", "a", true},
      {"?", "", false},
      {"a*c", "abbbc", true},
      {"a*c", "abbbd", false},
      {"a*b*c", "axbxbxc", true},
      {"*ab", "aab", true},
      {"kms:Get*", "kms:GetKeyPolicy", true},
      {"kms:Get*", "kms:PutKeyPolicy", false},
      {"a**", "a", true},
      {"a?", "a", false},
      {"*a", "b", false},
      {"key/*", "key/", true},
  };
  for (const Case& c : cases)
    EXPECT_EQ(MatchWildcard(c.pattern, c.text), c.matches)
        << c.pattern << " " << c.text;
}

TEST(MatchTest, CaseIsIgnoredOnlyWhenAsked) {
  EXPECT_TRUE(MatchWildcardIgnoreCase("KMS:decrypt", "kms:Decrypt"));
  EXPECT_TRUE(MatchWildcardIgnoreCase("kms:GET*", "kms:GetKeyPolicy"));
  EXPECT_FALSE(MatchWildcardIgnoreCase("kms:Decrypt", "kms:Encrypt"));
}

TEST(MatchTest, ManyStarsDoNotExplode) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(MatchWildcard(pattern + "b", std::string(2000, 'a')));
}

TEST(MatchTest, StarDoesNotCrossThePartsOfAnArn) {
  EXPECT_TRUE(MatchArn("arn:aws:iam::*:user/*", "arn:aws:iam::000000000000:user/cfo"));
  EXPECT_FALSE(MatchArn("arn:*:user/cfo", "arn:aws:iam::000000000000:user/cfo"));
  EXPECT_TRUE(MatchArn("*", "arn:aws:iam::000000000000:user/cfo"));
  EXPECT_FALSE(MatchArn("*", "not an ARN"));
  EXPECT_TRUE(MatchArn("arn:aws:x:::a:*", "arn:aws:x:::a:b:c"));
}

Statement About(std::vector<std::string> actions, std::vector<std::string> resources) {
  Statement statement;
  statement.actions = std::move(actions);
  statement.resources = std::move(resources);
  return statement;
}

TEST(MatchTest, StatementSpeaksOfActionsInAnyCaseAndResourcesExactly) {
  const Request request{"kms:Decrypt", "arn:aws:kms:local-1:0:key/K", {}};
  EXPECT_TRUE(MatchAction(About({"KMS:DECRYPT"}, {"*"}), request));
  EXPECT_TRUE(
      MatchAction(About({"kms:En*", "kms:De*"}, {"arn:aws:kms:*:*:key/K"}), request));
  EXPECT_FALSE(MatchAction(About({"kms:Decrypt"}, {"arn:aws:kms:*:*:key/k"}), request));
  EXPECT_FALSE(MatchAction(About({"kms:Encrypt"}, {"*"}), request));
}

TEST(MatchTest, NotActionAndNotResourceInvert) {
  const Request request{"kms:Decrypt", "arn:aws:kms:local-1:0:key/K", {}};
  Statement statement;
  statement.not_actions = {"kms:Describe*"};
  statement.not_resources = {"arn:aws:kms:*:*:key/other"};
  EXPECT_TRUE(MatchAction(statement, request));
  statement.not_actions = {"KMS:decrypt"};
  EXPECT_FALSE(MatchAction(statement, request));
  statement.not_actions = {"iam:*"};
  statement.not_resources = {"*"};
  EXPECT_FALSE(MatchAction(statement, request));
}

}  // namespace
}  // namespace keyfold::policy
