// Which rights does a change of the IAM document take?
#include "Documents.h"

namespace keyfold::policy {
namespace {

constexpr char kBefore[] = R"(
users:
  cfo:      {groups: [finance]}
  accounts: {policies: [ConsoleReadOnlyAccess], tags: {level: low}}
groups:
  finance: {policies: [FilesFullAccess]}
roles:
  auditor: {policies: [ConsoleReadOnlyAccess], trust: [user:cfo]}
policies:
  Own: {Statement: {Effect: Allow, Action: "kms:Decrypt", Resource: "*"}}
)";

using List = std::vector<std::string>;

List Changes(const Iam& before, const Iam& after, const Principal& caller) {
  List list;
  for (const IamChange& change : Diff(before, after, kAccount, caller))
    list.push_back(change.action + " " +
                   change.resource.substr(change.resource.rfind(':') + 1));
  return list;
}

struct Case {
  const char* what;
  void (*edit)(Iam& iam);
  List changes;
};

TEST(DiffTest, EveryChangeNamesItsActionAndResource) {
  const Case cases[] = {
      {"nothing", [](Iam&) {}, {}},
      {"order",
       [](Iam& iam) {
         iam.users["cfo"].groups = {"finance", "finance"};
       },
       {}},
      {"new user",
       [](Iam& iam) {
         iam.users["new"] = {{"finance"}, {"Own"}, {{"a", "b"}}};
       },
       {"iam:CreateUser user/new", "iam:AttachUserPolicy user/new",
        "iam:AddUserToGroup group/finance", "iam:TagUser user/new"}},
      {"user gone",
       [](Iam& iam) { iam.users.erase("accounts"); },
       {"iam:DeleteUser user/accounts", "iam:DetachUserPolicy user/accounts",
        "iam:UntagUser user/accounts"}},
      {"user's policies",
       [](Iam& iam) { iam.users["accounts"].policies = {"Own"}; },
       {"iam:DetachUserPolicy user/accounts", "iam:AttachUserPolicy user/accounts"}},
      {"membership",
       [](Iam& iam) {
         iam.users["cfo"].groups = {};
         iam.users["accounts"].groups = {"finance"};
       },
       {"iam:AddUserToGroup group/finance", "iam:RemoveUserFromGroup group/finance"}},
      {"tag changed",
       [](Iam& iam) { iam.users["accounts"].tags["level"] = "high"; },
       {"iam:TagUser user/accounts"}},
      {"tag gone",
       [](Iam& iam) { iam.users["accounts"].tags.clear(); },
       {"iam:UntagUser user/accounts"}},
      {"new group",
       [](Iam& iam) { iam.groups["staff"].policies = {"Own"}; },
       {"iam:CreateGroup group/staff", "iam:AddUserToGroup group/staff",
        "iam:AttachGroupPolicy group/staff"}},
      {"group gone",
       [](Iam& iam) {
         iam.groups.erase("finance");
         iam.users["cfo"].groups = {};
       },
       {"iam:DeleteGroup group/finance", "iam:RemoveUserFromGroup group/finance",
        "iam:DetachGroupPolicy group/finance",
        "iam:RemoveUserFromGroup group/finance"}},
      {"group's policies",
       [](Iam& iam) { iam.groups["finance"].policies = {"Own"}; },
       {"iam:DetachGroupPolicy group/finance", "iam:AttachGroupPolicy group/finance"}},
      {"new role",
       [](Iam& iam) {
         iam.roles["new"] = {{"Own"}, {UserArn(kAccount, "accounts")}};
       },
       {"iam:CreateRole role/new", "iam:AttachRolePolicy role/new",
        "iam:PassRole role/new"}},
      {"role gone",
       [](Iam& iam) { iam.roles.erase("auditor"); },
       {"iam:DeleteRole role/auditor", "iam:DetachRolePolicy role/auditor",
        "iam:UpdateAssumeRolePolicy role/auditor"}},
      {"role's policies",
       [](Iam& iam) { iam.roles["auditor"].policies = {}; },
       {"iam:DetachRolePolicy role/auditor"}},
      {"role's trust",
       [](Iam& iam) { iam.roles["auditor"].trust = {UserArn(kAccount, "accounts")}; },
       {"iam:UpdateAssumeRolePolicy role/auditor", "iam:PassRole role/auditor"}},
      {"new policy",
       [](Iam& iam) { iam.policies["New"] = iam.policies["Own"]; },
       {"iam:CreatePolicy policy/New"}},
      {"policy changed",
       [](Iam& iam) { iam.policies["Own"].statements[0].actions = {"*"}; },
       {"iam:CreatePolicyVersion policy/Own"}},
      {"policy gone",
       [](Iam& iam) { iam.policies.erase("Own"); },
       {"iam:DeletePolicy policy/Own"}},
  };
  const Iam before = IamOf(kBefore);
  const IamIndex index(before, kAccount);
  for (const Case& c : cases) {
    Iam after = before;
    c.edit(after);
    EXPECT_EQ(Changes(before, after, index.User("someone", {})), c.changes) << c.what;
  }
}

TEST(DiffTest, DescriptionsAreForPeople) {
  const Iam before = IamOf(kBefore);
  Iam after = before;
  after.users["accounts"].policies.push_back("AdministratorAccess");
  const IamIndex index(before, kAccount);
  const auto changes = Diff(before, after, kAccount, index.User("someone", {}));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].resource, "arn:aws:iam::000000000000:user/accounts");
  EXPECT_EQ(changes[0].description,
            "attach policy AdministratorAccess to user accounts");
}

}  // namespace
}  // namespace keyfold::policy
