// Which policies apply to whom, and who may become whom?
#include "Documents.h"

namespace keyfold::policy {
namespace {

constexpr char kIam[] = R"(
users:
  cfo:   {groups: [finance], policies: [Own], tags: {department: finance}}
  guest:
groups:
  finance: {policies: [FilesFullAccess]}
  staff:   {policies: [FilesReadOnlyAccess]}
roles:
  auditor:  {policies: [ConsoleReadOnlyAccess], trust: [user:cfo, group:staff]}
  reader:   {policies: [FilesReadOnlyAccess], trust: [account]}
  anyone:   {trust: [everyone]}
  orphan:   {policies: [AdministratorAccess]}
policies:
  Own: {Statement: {Effect: Deny, Action: "kms:*", Resource: "*"}}
)";

std::vector<std::string> Names(const std::vector<const Document*>& documents) {
  std::vector<std::string> names;
  for (const Document* document : documents) names.push_back(document->name);
  return names;
}
using List = std::vector<std::string>;

TEST(IamIndexTest, UserHasOwnAndGroupPolicies) {
  const IamIndex index = IndexOf(kIam);
  const Principal cfo = index.User("cfo", {});
  EXPECT_EQ(cfo.arn, "arn:aws:iam::000000000000:user/cfo");
  EXPECT_EQ(cfo.user_name, "cfo");
  EXPECT_EQ(cfo.group_arns, List{GroupArn(kAccount, "finance")});
  EXPECT_EQ(cfo.tags.at("department"), "finance");
  EXPECT_EQ(Names(index.Policies(cfo)), (List{"Own", "FilesFullAccess"}));
}

TEST(IamIndexTest, UnixGroupsCountWhenAnIamGroupBearsTheirName) {
  const IamIndex index = IndexOf(kIam);
  const Principal cfo = index.User("cfo", {"finance", "staff", "docker"});
  EXPECT_EQ(cfo.group_arns,
            (List{GroupArn(kAccount, "finance"), GroupArn(kAccount, "staff")}));
  const Principal unknown = index.User("uid:1234", {"staff"});
  EXPECT_EQ(unknown.arn, "arn:aws:iam::000000000000:user/uid:1234");
  EXPECT_EQ(Names(index.Policies(unknown)), List{"FilesReadOnlyAccess"});
  EXPECT_TRUE(index.Policies(index.User("nobody", {"nogroup"})).empty());
}

TEST(IamIndexTest, HasGroupsTellsWhetherUnixGroupsMatter) {
  EXPECT_TRUE(IndexOf(kIam).HasGroups());
  EXPECT_FALSE(IndexOf("users: {cfo: {}}").HasGroups());
}

TEST(IamIndexTest, AccountRootHasItsPolicyBesides) {
  const IamIndex index = IndexOf(kIam);
  Principal root = index.User("cfo", {});
  root.is_account_root = true;
  EXPECT_EQ(Names(index.Policies(root)),
            (List{"Own", "FilesFullAccess", "AccountRoot"}));
}

TEST(IamIndexTest, AccountRootPolicyIsNotAttachedEvenByName) {
  Iam iam;
  iam.users["u"].policies = {"AccountRoot", "NoSuchPolicy"};
  const IamIndex index(iam, kAccount);
  EXPECT_TRUE(index.Policies(index.User("u", {})).empty());
}

TEST(IamIndexTest, RolesAreAssumedByWhomTheyTrust) {
  const IamIndex index = IndexOf(kIam);
  Principal root = index.User("installer", {});
  root.is_account_root = true;
  struct Case {
    const char* role;
    Principal caller;
    bool allowed;
  };
  const Case cases[] = {
      {"auditor", index.User("cfo", {}), true},
      {"auditor", index.User("guest", {"staff"}), true},
      {"auditor", index.User("guest", {}), false},
      {"auditor", root, false},
      {"reader", index.User("nobody", {}), true},
      {"anyone", index.User("nobody", {}), true},
      {"anyone", index.Service(), false},
      {"orphan", index.User("cfo", {}), false},
      {"missing", index.User("cfo", {}), false},
  };
  for (const Case& c : cases) {
    Principal role;
    EXPECT_EQ(index.AssumeRole(c.role, c.caller, &role), c.allowed)
        << c.role << " by " << c.caller.arn;
  }
}

TEST(IamIndexTest, RoleReplacesTheCallersRights) {
  const IamIndex index = IndexOf(kIam);
  Principal caller = index.User("cfo", {"staff"});
  caller.is_account_root = true;
  Principal role;
  ASSERT_TRUE(index.AssumeRole("auditor", caller, &role));
  EXPECT_EQ(role.arn, "arn:aws:iam::000000000000:role/auditor");
  EXPECT_EQ(role.user_name, "cfo");
  EXPECT_TRUE(role.group_arns.empty());
  EXPECT_TRUE(role.tags.empty());
  EXPECT_FALSE(role.is_account_root);
  EXPECT_EQ(Names(index.Policies(role)), List{"ConsoleReadOnlyAccess"});
  Principal again;
  EXPECT_FALSE(index.AssumeRole("anyone", role, &again));
}

TEST(IamIndexTest, PoliciesOutliveAMove) {
  IamIndex first = IndexOf(kIam);
  const IamIndex index = std::move(first);
  EXPECT_EQ(Names(index.Policies(index.User("cfo", {}))),
            (List{"Own", "FilesFullAccess"}));
}

}  // namespace
}  // namespace keyfold::policy
