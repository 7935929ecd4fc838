// Does a statement speak of an action and a resource?
#include <gtest/gtest.h>

#include "policy/engine/Match.h"

namespace keyfold::policy {
namespace {

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
