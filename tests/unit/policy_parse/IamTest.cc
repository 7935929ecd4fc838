// Is iam.yaml read as it was meant, and does every name in it exist?
#include <gtest/gtest.h>

#include "policy/parse/Parse.h"

namespace keyfold::policy {
namespace {

const std::string kAccount = "000000000000";
using List = std::vector<std::string>;

constexpr char kExample[] = R"(# The finance share
users:
  cfo:      {groups: [finance], tags: {department: finance}}
  sysadmin: {groups: [administrators]}
  accounts: {policies: [FilesFullAccess, ConsoleReadOnlyAccess, Payroll]}
  guest:
groups:
  finance:        {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  administrators: {policies: [AdministratorAccess]}
  empty: {}
roles:
  auditor: {policies: [ConsoleReadOnlyAccess], trust: [user:sysadmin, group:finance]}
  open:    {trust: [account, everyone]}
policies:
  Payroll: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "kms:Decrypt", Resource: "*"}]}
)";

Iam Read(const std::string& text) {
  auto parsed = ParseIam(text, "iam.yaml", kAccount);
  EXPECT_TRUE(parsed.ok()) << parsed.status().ToString();
  return parsed.ok() ? *parsed : Iam();
}

std::string Mistake(const std::string& text) {
  auto parsed = ParseIam(text, "iam.yaml", kAccount);
  if (parsed.ok()) return "no mistake";
  EXPECT_EQ(parsed.status().error(), Error::kMalformedPolicyDocument);
  return parsed.status().message();
}

TEST(IamTest, ExampleIsRead) {
  const Iam iam = Read(kExample);
  EXPECT_EQ(iam.users.size(), 4u);
  EXPECT_EQ(iam.users.at("cfo").groups, List{"finance"});
  EXPECT_EQ(iam.users.at("cfo").tags.at("department"), "finance");
  EXPECT_EQ(iam.users.at("guest"), IamUser());
  EXPECT_EQ(iam.groups.at("administrators").policies, List{"AdministratorAccess"});
  EXPECT_EQ(iam.roles.at("auditor").trust,
            (List{UserArn(kAccount, "sysadmin"), GroupArn(kAccount, "finance")}));
  EXPECT_EQ(iam.roles.at("open").trust, (List{RootArn(kAccount), "*"}));
  EXPECT_EQ(iam.policies.at("Payroll").name, "Payroll");
  EXPECT_EQ(iam.policies.at("Payroll").statements[0].actions, List{"kms:Decrypt"});
}

TEST(IamTest, EmptySectionsAreAllowed) {
  EXPECT_EQ(Read("{}"), Iam());
  EXPECT_EQ(Read("users:\ngroups: {}\n"), Iam());
}

TEST(IamTest, YamlReadsBackEqual) {
  for (const std::string& text :
       {std::string(kExample), std::string("{}"),
        std::string(
            "users: {'null': {tags: {'~': '', 'a: b': \"x\\ny\", '#': 'true'}}, "
            "'1': {}, '- x': {}, '{': {}, \"ü'\\\"\": {}, 'uid:7': {}}")}) {
    const Iam iam = Read(text);
    const std::string yaml = ToYaml(iam);
    EXPECT_EQ(Read(yaml), iam) << yaml;
  }
}

struct MistakeCase {
  const char* text;
  const char* message;
};

TEST(IamTest, MistakesAreNamedWithTheirPlace) {
  const MistakeCase cases[] = {
      {"", "1:1: nothing; a document is expected"},
      {"[]",
       "1:1: found an empty list; expected a map with users, groups, roles and "
       "policies"},
      {"user: {}",
       "1:1: found \"user\", which is no key of an IAM document; did you mean "
       "\"users\"?"},
      {"users: [cfo]", "1:8: found a list; expected a map of names"},
      {"users:\n  cfo: finance",
       "2:8: found \"finance\"; expected a map with groups, "
       "policies, tags"},
      {"users:\n  cfo: {group: [finance]}",
       "2:9: found \"group\", which is no key of a user; did you mean \"groups\"?"},
      {"groups:\n  g: {users: [cfo]}",
       "2:7: found \"users\", which is no key of a group; expected policies"},
      {"users:\n  cfo: {groups: [finance, finace]}\ngroups: {finance: {}}",
       "2:27: found group \"finace\", which is not declared; did you mean "
       "\"finance\"?"},
      {"users:\n  cfo:\n    policies:\n    - FileFullAccess\n",
       "4:7: found policy \"FileFullAccess\", which is not declared; did you mean "
       "\"FilesFullAccess\"?"},
      {"groups: {g: {policies: [Mine]}}",
       "1:25: found policy \"Mine\", which is not declared; expected a policy of this "
       "document or a managed policy"},
      {"users: {u: {policies: [AccountRoot]}}",
       "1:24: found policy \"AccountRoot\", which can't be attached: only whoever ran "
       "init has it"},
      {"roles: {r: {trust: [user:ghost]}}",
       "1:21: found user \"ghost\", which is not declared; expected a user of this "
       "document"},
      {"roles: {r: {trust: [group:ghosts]}}",
       "1:21: found group \"ghosts\", which is not declared; expected a group of this "
       "document"},
      {"roles: {r: {trust: [role:r]}}",
       "1:21: found \"role:r\", but only users assume roles; expected a user, a group, "
       "account or everyone"},
      {"roles: {r: {trust: [service:keyfold]}}",
       "1:21: found \"service:keyfold\", but only users assume roles; expected a user, "
       "a "
       "group, account or everyone"},
      {"roles: {r: {trust: [ghost]}}",
       "1:21: found \"ghost\", which is no principal; expected user:NAME, group:NAME, "
       "role:NAME, account, everyone or an ARN of them"},
      {"roles: {r: {trust: [account, '000000000000']}}",
       "1:30: found \"000000000000\" twice"},
      {"users: {u: {groups: [a, a]}}", "1:25: found \"a\" twice"},
      {"users: {'a/b': {}}",
       "1:9: found \"a/b\"; expected the name of a user, without *, ? and /"},
      {"policies: {AdministratorAccess: {Statement: {Effect: Deny, Action: '*', "
       "Resource: "
       "'*'}}}",
       "1:12: found a policy \"AdministratorAccess\", which is the name of a managed "
       "policy; expected another name"},
      {"policies: {AccountRoot: {}}",
       "1:12: found a policy \"AccountRoot\", which is the name of a managed policy; "
       "expected another name"},
      {"policies:\n  P:\n    Statement: {Effect: Allow, Principal: account, Action: "
       "'*'}",
       "3:32: found \"Principal\"; a policy of users, groups and roles names no "
       "principal: it speaks of whom it is attached to"},
      {"users: {u: {tags: {A: 1, a: 2}}}",
       "1:26: found the tag \"a\" besides \"A\"; expected names that differ in more "
       "than "
       "case"},
      {"users: {u: {}, u: {}}", "1:16: the key \"u\" a second time"},
  };
  for (const MistakeCase& c : cases)
    EXPECT_EQ(Mistake(c.text), std::string("iam.yaml:") + c.message) << c.text;
}

TEST(IamTest, NamesMayBeUsedBeforeTheyAreDeclared) {
  EXPECT_EQ(
      Read("roles: {r: {trust: [user:u], policies: [P]}}\nusers: {u: {}}\npolicies: "
           "{P: {Statement: {Effect: Deny, Action: '*', Resource: '*'}}}")
          .roles.at("r")
          .policies,
      List{"P"});
}

}  // namespace
}  // namespace keyfold::policy
