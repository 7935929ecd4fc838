// Are users found whom a request or an IAM document names, and those told whom this
// machine does not know?
#include <gtest/gtest.h>

#include "fs/cli/KeyPolicy.h"
#include "fs/cli/UnknownUsers.h"

namespace keyfold {
namespace {

using nlohmann::json;
using Names = std::set<std::string>;

TEST(UnknownUsersTest, APolicyAndAGrantNameUsers) {
  KeyPolicyOptions options;
  options.administrators = {"user:a", "group:g", "role:r", "user:uid:1234"};
  options.users = {"user:b", "arn:aws:iam::000000000000:user/c"};
  EXPECT_EQ(UsersOfRequest({{"Policy", ConsolePolicy(options).dump()}}),
            (Names{"a", "b", "c"}));
  EXPECT_EQ(
      UsersOfRequest({{"GranteePrincipal", "user:a"}, {"RetiringPrincipal", "user:b"}}),
      (Names{"a", "b"}));
  EXPECT_EQ(UsersOfRequest({{"GranteePrincipal", "group:g"}, {"Name", "user:x"}}),
            Names());
}

TEST(UnknownUsersTest, APolicyMayBeYamlAndOfAnotherAccount) {
  EXPECT_EQ(UsersOfRequest({{"Policy",
                             "Statement:\n- Effect: Allow\n  Principal: [user:a, "
                             "'arn:aws:iam::111122223333:user/b']\n  Action: '*'\n"}}),
            (Names{"a", "b"}));
}

TEST(UnknownUsersTest, WhatIsNoPolicyNamesNobody) {
  for (const json& request :
       {json::object(), json{{"Policy", "x"}}, json{{"Policy", 1}}, json("text")})
    EXPECT_EQ(UsersOfRequest(request), Names());
  EXPECT_EQ(UsersOfIam("nonsense"), Names());
}

TEST(UnknownUsersTest, AnIamDocumentNamesItsUsers) {
  EXPECT_EQ(UsersOfIam("users: {a: {groups: [g]}, 'uid:1234': {}}\ngroups: {g: {}}\n"),
            Names{"a"});
}

TEST(UnknownUsersTest, OnlyWhomTheMachineDoesNotKnowIsTold) {
  testing::internal::CaptureStderr();
  TellUnknownUsers({"root", "kf-nobody\x1b"});
  const std::string told = testing::internal::GetCapturedStderr();
  EXPECT_EQ(told,
            "keyfold: there is no user kf-nobody? here now; whoever gets that name "
            "later gets the rights\n");
}

}  // namespace
}  // namespace keyfold
