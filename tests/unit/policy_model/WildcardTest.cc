// Does a pattern fit a text, as AWS's wildcards do?
#include <gtest/gtest.h>

#include "policy/model/Wildcard.h"

namespace keyfold::policy {
namespace {

struct Case {
  const char* pattern;
  const char* text;
  bool matches;
};

TEST(WildcardTest, WildcardsStandForRunsAndSingleCharacters) {
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

TEST(WildcardTest, CaseIsIgnoredOnlyWhenAsked) {
  EXPECT_TRUE(MatchWildcardIgnoreCase("KMS:decrypt", "kms:Decrypt"));
  EXPECT_TRUE(MatchWildcardIgnoreCase("kms:GET*", "kms:GetKeyPolicy"));
  EXPECT_FALSE(MatchWildcardIgnoreCase("kms:Decrypt", "kms:Encrypt"));
}

TEST(WildcardTest, ManyStarsDoNotExplode) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(MatchWildcard(pattern + "b", std::string(2000, 'a')));
}

TEST(WildcardTest, StarDoesNotCrossThePartsOfAnArn) {
  EXPECT_TRUE(MatchArn("arn:aws:iam::*:user/*", "arn:aws:iam::000000000000:user/cfo"));
  EXPECT_FALSE(MatchArn("arn:*:user/cfo", "arn:aws:iam::000000000000:user/cfo"));
  EXPECT_TRUE(MatchArn("*", "arn:aws:iam::000000000000:user/cfo"));
  EXPECT_FALSE(MatchArn("*", "not an ARN"));
  EXPECT_TRUE(MatchArn("arn:aws:x:::a:*", "arn:aws:x:::a:b:c"));
}

}  // namespace
}  // namespace keyfold::policy
