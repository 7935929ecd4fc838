// Who may do what, and is the reason said?
#include "Documents.h"

namespace keyfold::policy {
namespace {

constexpr char kIam[] = R"(
users:
  cfo:      {groups: [finance]}
  accounts: {policies: [Payroll]}
  admin:    {policies: [AdministratorAccess]}
groups:
  finance: {policies: [FilesFullAccess]}
roles:
  auditor: {policies: [AdministratorAccess], trust: [user:cfo]}
policies:
  Payroll:
    Version: "2012-10-17"
    Statement:
    - {Sid: Use, Effect: Allow, Action: "kms:Decrypt", Resource: "*"}
    - {Sid: NoNight, Effect: Deny, Action: "kms:*", Resource: "*",
       Condition: {DateGreaterThan: {"aws:CurrentTime": "2026-01-31T20:00:00Z"}}}
)";
// The shape of the policy that AWS gives a new key.
constexpr char kDefaultPolicy[] = R"({
  "Version": "2012-10-17",
  "Id": "key-default-1",
  "Statement": [{
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
    "Action": "kms:*",
    "Resource": "*"
  }]
})";

class DecideTest : public testing::Test {
 protected:
  Decision Ask(const Principal& who, const std::string& key_policy,
               const Request& request = On("kms:Decrypt"),
               const std::vector<Grant>& grants = {}) {
    std::vector<const Grant*> held;
    for (const Grant& grant : grants) held.push_back(&grant);
    return DecideOnKey(index_, who, request, KeyPolicy(key_policy), held);
  }
  Principal User(const std::string& name) { return index_.User(name, {}); }
  Principal Auditor() {
    Principal role;
    EXPECT_TRUE(index_.AssumeRole("auditor", User("cfo"), &role));
    return role;
  }

  const IamIndex index_ = IndexOf(kIam);
};

TEST_F(DecideTest, NothingIsAllowedByDefault) {
  const Decision decision =
      Ask(User("accounts"),
          "Statement: {Effect: Allow, Principal: user:cfo, Action: 'kms:*'}");
  EXPECT_EQ(decision.outcome, Outcome::kImplicitDeny);
  EXPECT_EQ(decision.reason,
            "no statement of the key policy allows user:accounts kms:Decrypt, and the "
            "key policy does not leave it to IAM policies (statement 'Use' of policy "
            "'Payroll' of user accounts would allow it)");
  EXPECT_EQ(Ask(User("nobody"),
                "Statement: {Effect: Allow, Principal: user:cfo, Action: 'kms:*'}")
                .reason,
            "no statement of the key policy allows user:nobody kms:Decrypt, nor does "
            "it leave that to IAM policies");
}

TEST_F(DecideTest, KeyPolicyAllowsWhomItNames) {
  struct Case {
    const char* principal;
    Principal who;
    bool allowed;
  };
  const Case cases[] = {
      {"user:cfo", User("cfo"), true},
      {"user:cfo", User("accounts"), false},
      {"group:finance", User("cfo"), true},
      {"group:finance", index_.User("guest", {"finance"}), true},
      {"group:finance", User("accounts"), false},
      {"everyone", User("nobody"), true},
      {"'*'", User("nobody"), true},
      {"{AWS: ['*']}", User("nobody"), true},
      {"role:auditor", Auditor(), true},
      {"user:cfo", Auditor(), false},  // the role replaces the user
      {"group:finance", Auditor(), false},
      {"role:auditor", User("cfo"), false},
      {"service:keyfold", index_.Service(), true},
      {"service:keyfold", User("keyfold"), false},
      {"user:keyfold", index_.Service(), false},
      {"account", User("cfo"), false},
      {"account", index_.Service(), false},
  };
  for (const Case& c : cases) {
    const std::string policy = std::string("Statement: {Effect: Allow, Principal: ") +
                               c.principal + ", Action: kms:Decrypt}";
    EXPECT_EQ(Ask(c.who, policy).allowed(), c.allowed)
        << c.principal << " " << c.who.arn;
  }
}

TEST_F(DecideTest, ReasonNamesTheStatement) {
  EXPECT_EQ(Ask(User("cfo"),
                "Statement: [{Sid: Allow use of the key, Effect: Allow, "
                "Principal: user:cfo, Action: kms:Decrypt}]")
                .reason,
            "allowed by statement 'Allow use of the key' of the key policy");
  EXPECT_EQ(Ask(User("cfo"),
                "Statement: [{Effect: Deny, Principal: everyone, Action: "
                "kms:Encrypt}, {Effect: Allow, Principal: everyone, "
                "Action: kms:Decrypt}]")
                .reason,
            "allowed by statement 2 of the key policy");
}

TEST_F(DecideTest, AccountStatementLetsIdentityPoliciesDecide) {
  EXPECT_EQ(Ask(User("admin"), kDefaultPolicy).reason,
            "allowed by statement 'Everything' of policy 'AdministratorAccess' of user "
            "admin, to which statement 'Enable IAM User Permissions' of the key policy "
            "leaves it");
  const Decision decision = Ask(User("cfo"), kDefaultPolicy);
  EXPECT_EQ(decision.outcome, Outcome::kImplicitDeny);
  EXPECT_EQ(decision.reason,
            "no statement of the key policy allows user:cfo kms:Decrypt, and the key "
            "policy leaves it to IAM policies, none of which allows it");
  EXPECT_TRUE(Ask(Auditor(), kDefaultPolicy).allowed());
  EXPECT_FALSE(Ask(index_.Service(), kDefaultPolicy).allowed());
}

TEST_F(DecideTest, AccountStatementReachesOnlyItsActionsAndConditions) {
  const std::string decrypt_only =
      "Statement: {Effect: Allow, Principal: account, Action: kms:Decrypt, Condition: "
      "{StringEquals: {'kms:ViaService': fs.keyfold}}}";
  const Context via = {{"kms:ViaService", {"fs.keyfold"}}};
  EXPECT_TRUE(Ask(User("admin"), decrypt_only, On("kms:Decrypt", via)).allowed());
  EXPECT_FALSE(Ask(User("admin"), decrypt_only, On("kms:Encrypt", via)).allowed());
  EXPECT_FALSE(Ask(User("admin"), decrypt_only, On("kms:Decrypt")).allowed());
}

TEST_F(DecideTest, ExplicitDenyAnywhereRefuses) {
  const Context night = {{"aws:CurrentTime", {"2026-01-31T23:00:00Z"}}};
  const std::string allows =
      "Statement: {Effect: Allow, Principal: user:accounts, Action: 'kms:*'}";
  EXPECT_TRUE(Ask(User("accounts"), allows).allowed());
  const Decision by_identity = Ask(User("accounts"), allows, On("kms:Decrypt", night));
  EXPECT_EQ(by_identity.outcome, Outcome::kExplicitDeny);
  EXPECT_EQ(by_identity.reason,
            "explicitly denied by statement 'NoNight' of policy 'Payroll' of user "
            "accounts");

  const Decision by_key = Ask(User("admin"),
                              "Statement: [{Effect: Allow, Principal: account, Action: "
                              "'kms:*'}, {Effect: Allow, Principal: everyone, Action: "
                              "'kms:*'}, {Effect: Deny, Principal: user:admin, Action: "
                              "kms:Decrypt}]");
  EXPECT_EQ(by_key.outcome, Outcome::kExplicitDeny);
  EXPECT_EQ(by_key.reason, "explicitly denied by statement 3 of the key policy");
}

TEST_F(DecideTest, DenyForTheAccountMeetsAllItsPrincipals) {
  const std::string policy =
      "Statement: [{Effect: Allow, Principal: everyone, Action: 'kms:*'}, {Effect: "
      "Deny, Principal: account, Action: kms:Decrypt}]";
  for (const Principal& who : {User("cfo"), User("nobody"), Auditor()})
    EXPECT_EQ(Ask(who, policy).outcome, Outcome::kExplicitDeny) << who.arn;
  EXPECT_TRUE(Ask(User("cfo"), policy, On("kms:Encrypt")).allowed());
}

TEST_F(DecideTest, DenyWithNotPrincipalSparesWhomItNames) {
  const std::string policy =
      "Statement: [{Effect: Allow, Principal: everyone, Action: 'kms:*'}, {Effect: "
      "Deny, NotPrincipal: [group:finance, account], Action: kms:Decrypt}]";
  EXPECT_TRUE(Ask(User("cfo"), policy).allowed());
  EXPECT_EQ(Ask(User("admin"), policy).outcome, Outcome::kExplicitDeny);
  EXPECT_EQ(Ask(Auditor(), policy).outcome, Outcome::kExplicitDeny);
}

TEST_F(DecideTest, KeyPolicyResourceMayNameTheKey) {
  EXPECT_TRUE(Ask(User("cfo"),
                  "Statement: {Effect: Allow, Principal: user:cfo, Action: "
                  "'kms:*', Resource: '" +
                      kKey + "'}")
                  .allowed());
  EXPECT_FALSE(Ask(User("cfo"),
                   "Statement: {Effect: Allow, Principal: user:cfo, Action: 'kms:*', "
                   "Resource: 'arn:aws:kms:local-1:000000000000:key/other'}")
                   .allowed());
}

Grant GrantTo(const std::string& grantee) {
  Grant grant;
  grant.id = "g1";
  grant.grantee = grantee;
  grant.operations = {"Decrypt", "DescribeKey"};
  return grant;
}

constexpr char kOnlyAdmin[] =
    "Statement: {Effect: Allow, Principal: user:admin, Action: 'kms:*'}";

TEST_F(DecideTest, GrantAllowsItsGranteeItsOperations) {
  const std::vector<Grant> to_user = {GrantTo(UserArn(kAccount, "accounts"))};
  const Decision decision =
      Ask(User("accounts"), kOnlyAdmin, On("kms:Decrypt"), to_user);
  EXPECT_TRUE(decision.allowed());
  EXPECT_EQ(decision.reason, "allowed by grant g1 to user:accounts");
  EXPECT_FALSE(Ask(User("accounts"), kOnlyAdmin, On("kms:Encrypt"), to_user).allowed());
  EXPECT_FALSE(Ask(User("cfo"), kOnlyAdmin, On("kms:Decrypt"), to_user).allowed());
  const std::vector<Grant> to_group = {GrantTo(GroupArn(kAccount, "finance"))};
  EXPECT_TRUE(Ask(User("cfo"), kOnlyAdmin, On("kms:Decrypt"), to_group).allowed());
  EXPECT_FALSE(Ask(User("cfo"), kOnlyAdmin, On("iam:Decrypt"), to_group).allowed());
  const std::vector<Grant> to_role = {GrantTo(RoleArn(kAccount, "auditor"))};
  EXPECT_TRUE(Ask(Auditor(), kOnlyAdmin, On("kms:Decrypt"), to_role).allowed());
  EXPECT_FALSE(Ask(User("cfo"), kOnlyAdmin, On("kms:Decrypt"), to_role).allowed());
}

TEST_F(DecideTest, GrantDoesNotOutweighADeny) {
  const std::vector<Grant> grants = {GrantTo(UserArn(kAccount, "cfo"))};
  EXPECT_EQ(Ask(User("cfo"),
                "Statement: {Effect: Deny, Principal: user:cfo, Action: "
                "kms:Decrypt}",
                On("kms:Decrypt"), grants)
                .outcome,
            Outcome::kExplicitDeny);
}

TEST_F(DecideTest, GrantConstraintsCompareTheEncryptionContext) {
  Grant equals = GrantTo(UserArn(kAccount, "cfo"));
  equals.context_equals = {{"file", "a"}, {"folder", "b"}};
  Grant subset = GrantTo(UserArn(kAccount, "cfo"));
  subset.context_subset = {{"file", "a"}};
  const Context both = {{"kms:EncryptionContext:file", {"a"}},
                        {"kms:EncryptionContext:folder", {"b"}},
                        {"kms:ViaService", {"fs"}}};
  Context more = both, less = both, other = both, cased = both;
  more["kms:EncryptionContext:x"] = {"y"};
  less.erase("kms:EncryptionContext:folder");
  other["kms:EncryptionContext:file"] = {"z"};
  cased.erase("kms:EncryptionContext:file");
  cased["kms:EncryptionContext:FILE"] = {"a"};
  struct Case {
    const Context* context;
    bool equals, subset;
  };
  const Context none;
  for (const Case& c : {Case{&both, true, true}, Case{&more, false, true},
                        Case{&less, false, true}, Case{&other, false, false},
                        Case{&cased, false, false}, Case{&none, false, false}}) {
    const Request request = On("kms:Decrypt", *c.context);
    EXPECT_EQ(Ask(User("cfo"), kOnlyAdmin, request, {equals}).allowed(), c.equals);
    EXPECT_EQ(Ask(User("cfo"), kOnlyAdmin, request, {subset}).allowed(), c.subset);
  }
  // What has no encryption context of its own.
  equals.operations.insert({"RetireGrant", "CreateGrant"});
  for (const char* action : {"kms:DescribeKey", "kms:RetireGrant", "kms:CreateGrant"})
    EXPECT_TRUE(Ask(User("cfo"), kOnlyAdmin, On(action), {equals}).allowed()) << action;
}

TEST_F(DecideTest, AccountActionsNeedAnIdentityPolicy) {
  const Request create{"kms:CreateKey", "*", {}};
  EXPECT_EQ(
      DecideOnAccount(index_, User("cfo"), create).reason,
      "allowed by statement 'MakeKeys' of policy 'FilesFullAccess' of group finance");
  const Decision refused = DecideOnAccount(index_, User("accounts"), create);
  EXPECT_EQ(refused.outcome, Outcome::kImplicitDeny);
  EXPECT_EQ(refused.reason, "no IAM policy allows user:accounts kms:CreateKey");
  const Request night{
      "kms:CreateKey", "*", {{"aws:CurrentTime", {"2026-01-31T23:00:00Z"}}}};
  EXPECT_EQ(DecideOnAccount(index_, User("accounts"), night).outcome,
            Outcome::kExplicitDeny);
}

}  // namespace
}  // namespace keyfold::policy
