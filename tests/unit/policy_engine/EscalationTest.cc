// Can someone who may only pass roles gain a right for itself?
//
// `mallory` may do nothing but iam:PassRole on everything. Each attempt is a
// document that would give mallory, or something mallory is, a right it lacks;
// applying it must ask for a right that mallory does not have.
#include "Documents.h"

namespace keyfold::policy {
namespace {

constexpr char kBefore[] = R"(
users:
  mallory: {groups: [ops], policies: [PassRoles, Restricted], tags: {team: ops}}
  trusted: {policies: [AdministratorAccess]}
groups:
  ops:    {}
  devs:   {policies: [FilesReadOnlyAccess]}
  unixes: {}
roles:
  admin:    {policies: [AdministratorAccess], trust: [user:trusted]}
  operator: {policies: [PassRoles], trust: [user:mallory]}
policies:
  PassRoles:  {Statement: {Effect: Allow, Action: "iam:PassRole", Resource: "*"}}
  Restricted: {Statement: {Effect: Deny, Action: "kms:Decrypt", Resource: "*"}}
  TeamKeys:
    Statement: {Effect: Allow, Action: "kms:*", Resource: "*", Condition:
                {StringEquals: {"aws:PrincipalTag/team": finance}}}
)";

class EscalationTest : public testing::Test {
 protected:
  EscalationTest() : before_(IamOf(kBefore)), index_(before_, kAccount) {}

  Principal Mallory() { return index_.User("mallory", {"unixes"}); }
  Principal AsOperator() {
    Principal role;
    EXPECT_TRUE(index_.AssumeRole("operator", Mallory(), &role));
    return role;
  }
  // The first change that `caller` may not make; empty when it may make all.
  std::string Refused(const Principal& caller, const Iam& after) {
    for (const IamChange& change : Diff(before_, after, kAccount, caller)) {
      const Request request{change.action, change.resource, {}};
      if (!DecideOnAccount(index_, caller, request).allowed()) return change.action;
    }
    return "";
  }

  const Iam before_;
  const IamIndex index_;
};

struct Attempt {
  const char* how;
  void (*edit)(Iam& iam);
};

const Attempt kAttempts[] = {
    {"trust itself",
     [](Iam& iam) {
       iam.roles["admin"].trust.push_back(UserArn(kAccount, "mallory"));
     }},
    {"trust its group",
     [](Iam& iam) { iam.roles["admin"].trust.push_back(GroupArn(kAccount, "ops")); }},
    {"trust the IAM group of its Unix group",
     [](Iam& iam) {
       iam.roles["admin"].trust.push_back(GroupArn(kAccount, "unixes"));
     }},
    {"trust everyone", [](Iam& iam) { iam.roles["admin"].trust.push_back("*"); }},
    {"trust the account",
     [](Iam& iam) { iam.roles["admin"].trust.push_back(RootArn(kAccount)); }},
    {"trust a role that it may assume",
     [](Iam& iam) {
       iam.roles["admin"].trust.push_back(RoleArn(kAccount, "operator"));
     }},
    {"trust a pattern",
     [](Iam& iam) { iam.roles["admin"].trust.push_back("arn:aws:iam::*:user/m*"); }},
    {"trust itself among others",
     [](Iam& iam) {
       iam.roles["admin"].trust = {UserArn(kAccount, "trusted"),
                                   GroupArn(kAccount, "devs"),
                                   UserArn(kAccount, "mallory")};
     }},
    {"trust a new group that may bear its Unix group's name",
     [](Iam& iam) {
       iam.groups["users"];
       iam.roles["admin"].trust.push_back(GroupArn(kAccount, "users"));
     }},
    {"trust a group that was never declared",
     [](Iam& iam) { iam.roles["admin"].trust.push_back(GroupArn(kAccount, "users")); }},
    {"replace the role by one that trusts it",
     [](Iam& iam) {
       iam.roles["admin"] = {{"AdministratorAccess"}, {UserArn(kAccount, "mallory")}};
     }},
    {"a new role that trusts it",
     [](Iam& iam) {
       iam.roles["mine"] = {{"AdministratorAccess"}, {UserArn(kAccount, "mallory")}};
     }},
    {"a policy on a role that already trusts it",
     [](Iam& iam) { iam.roles["operator"].policies.push_back("AdministratorAccess"); }},
    {"a policy on itself",
     [](Iam& iam) { iam.users["mallory"].policies.push_back("AdministratorAccess"); }},
    {"a policy on its group",
     [](Iam& iam) { iam.groups["ops"].policies.push_back("AdministratorAccess"); }},
    {"a policy on the group of its Unix group",
     [](Iam& iam) { iam.groups["unixes"].policies.push_back("AdministratorAccess"); }},
    {"a group with rights",
     [](Iam& iam) { iam.users["mallory"].groups.push_back("devs"); }},
    {"a new group named as a Unix group of its",
     [](Iam& iam) { iam.groups["users"].policies = {"AdministratorAccess"}; }},
    {"a new group, empty, that a key policy may name",
     [](Iam& iam) { iam.groups["users"]; }},
    {"a group renamed to its Unix group",
     [](Iam& iam) {
       iam.groups["users"] = iam.groups["devs"];
       iam.groups.erase("devs");
     }},
    {"the document of its policy",
     [](Iam& iam) { iam.policies["PassRoles"].statements[0].actions = {"*"}; }},
    {"a statement without the condition",
     [](Iam& iam) { iam.policies["TeamKeys"].statements[0].conditions.clear(); }},
    {"only the effect of a denial",
     [](Iam& iam) {
       iam.policies["Restricted"].statements[0].effect = Effect::kAllow;
     }},
    {"a new policy named like a managed one",
     [](Iam& iam) { iam.policies["FilesReadOnlyAccess"] = iam.policies["PassRoles"]; }},
    {"without the policy that restricts it",
     [](Iam& iam) { iam.users["mallory"].policies = {"PassRoles"}; }},
    {"no policy that restricts anybody",
     [](Iam& iam) { iam.policies.erase("Restricted"); }},
    {"a tag that a condition asks for",
     [](Iam& iam) { iam.users["mallory"].tags["team"] = "finance"; }},
    {"without its tag", [](Iam& iam) { iam.users["mallory"].tags.clear(); }},
    {"without itself, and so without its restrictions",
     [](Iam& iam) { iam.users.erase("mallory"); }},
    {"without its group",
     [](Iam& iam) {
       iam.users["mallory"].groups = {};
       iam.groups.erase("ops");
     }},
};

TEST_F(EscalationTest, NoDocumentGivesThePasserARight) {
  for (const Attempt& attempt : kAttempts) {
    Iam after = before_;
    attempt.edit(after);
    EXPECT_NE(Refused(Mallory(), after), "") << attempt.how;
    EXPECT_NE(Refused(AsOperator(), after), "") << attempt.how << ", in a role";
  }
}

TEST_F(EscalationTest, TrustForOthersIsWhatPassRoleAllows) {
  Iam after = before_;
  after.users["friend"];
  Iam with_friend = after;
  with_friend.roles["admin"].trust.push_back(GroupArn(kAccount, "devs"));
  with_friend.roles["operator"].trust.push_back(UserArn(kAccount, "trusted"));
  with_friend.users.erase("friend");
  EXPECT_EQ(Refused(Mallory(), with_friend), "");
  // In a role the caller's groups are not known, so a group may be its own.
  EXPECT_EQ(Refused(AsOperator(), with_friend), "iam:AttachUserPolicy");
}

TEST_F(EscalationTest, PassRoleReachesOnlyTheRolesItNames) {
  Iam limited = before_;
  limited.policies["PassRoles"].statements[0].resources = {
      RoleArn(kAccount, "operator")};
  const IamIndex index(limited, kAccount);
  Iam after = limited;
  after.roles["admin"].trust.push_back(GroupArn(kAccount, "devs"));
  const Principal mallory = index.User("mallory", {});
  const auto changes = Diff(limited, after, kAccount, mallory);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_FALSE(
      DecideOnAccount(index, mallory, {changes[0].action, changes[0].resource, {}})
          .allowed());
}

TEST_F(EscalationTest, SelfTrustNamesTheRightItTakes) {
  Iam after = before_;
  after.roles["admin"].trust.push_back("*");
  const auto changes = Diff(before_, after, kAccount, AsOperator());
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].action, "iam:PassRole");
  EXPECT_EQ(changes[0].resource, RoleArn(kAccount, "admin"));
  EXPECT_EQ(changes[1].action, "iam:AttachUserPolicy");
  EXPECT_EQ(changes[1].resource, UserArn(kAccount, "mallory"));
}

}  // namespace
}  // namespace keyfold::policy
