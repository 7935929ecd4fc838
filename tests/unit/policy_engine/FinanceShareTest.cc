// The finance share: do its people get what they should, and no more?
#include "Documents.h"

namespace keyfold::policy {
namespace {

constexpr char kIam[] = R"(
users:
  cfo:      {groups: [finance]}
  sysadmin: {groups: [administrators]}
  accounts: {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
groups:
  finance:        {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  administrators: {policies: [AdministratorAccess]}
)";

// Administration, use, and the account's statement apart.
constexpr char kCfoKey[] = R"(
Version: "2012-10-17"
Statement:
- Sid: Enable IAM policies
  Effect: Allow
  Principal: account
  Action: "kms:*"
- Sid: Allow administration of the key
  Effect: Allow
  Principal: user:cfo
  Action: ["kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*",
           "kms:Update*", "kms:Revoke*", "kms:Disable*", "kms:Get*", "kms:Delete*",
           "kms:TagResource", "kms:UntagResource", "kms:ScheduleKeyDeletion",
           "kms:CancelKeyDeletion", "kms:ImportKeyMaterial"]
- Sid: Allow use of the key
  Effect: Allow
  Principal: user:cfo
  Action: ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*",
           "kms:DescribeKey"]
)";

const char* const kUse[] = {"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey",
                            "kms:ReEncryptFrom"};
const char* const kAdminister[] = {"kms:PutKeyPolicy",          "kms:DisableKey",
                                   "kms:ScheduleKeyDeletion",   "kms:CreateGrant",
                                   "kms:CreateAlias",           "kms:TagResource",
                                   "kms:GetParametersForImport"};
const char* const kLook[] = {"kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListGrants",
                             "kms:ListResourceTags", "kms:GetKeyRotationStatus"};

class FinanceShareTest : public testing::Test {
 protected:
  void Expect(const Principal& who, bool look, bool use, bool administer) {
    for (const char* action : kLook) ExpectOne(who, action, look);
    for (const char* action : kUse) ExpectOne(who, action, use);
    for (const char* action : kAdminister) ExpectOne(who, action, administer);
  }
  void ExpectOne(const Principal& who, const char* action, bool allowed) {
    const Decision decision = DecideOnKey(index_, who, On(action), policy_, {});
    EXPECT_EQ(decision.allowed(), allowed)
        << who.arn << " " << action << ": " << decision.reason;
  }
  void Downgrade() {
    std::string text = kIam;
    text.replace(text.find("AdministratorAccess"), 19, "SystemAdministrator");
    index_ = IndexOf(text);
  }
  bool OnAccount(const Principal& who, const std::string& action,
                 const std::string& resource = "*") {
    return DecideOnAccount(index_, who, {action, resource, {}}).allowed();
  }

  IamIndex index_ = IndexOf(kIam);
  const Document policy_ = KeyPolicy(kCfoKey);
};

TEST_F(FinanceShareTest, CfoUsesAndAdministers) {
  Expect(index_.User("cfo", {"finance"}), true, true, true);
}

TEST_F(FinanceShareTest, AccountsLooksOnly) {
  Expect(index_.User("accounts", {}), true, false, false);
}

TEST_F(FinanceShareTest, NobodyGetsNothing) {
  Expect(index_.User("nobody", {"nogroup"}), false, false, false);
}

TEST_F(FinanceShareTest, AdministratorAccessReachesThroughTheAccountStatement) {
  Expect(index_.User("sysadmin", {"administrators"}), true, true, true);
}

TEST_F(FinanceShareTest, SystemAdministratorLooksOnly) {
  Downgrade();
  const Principal sysadmin = index_.User("sysadmin", {});
  Expect(sysadmin, true, false, false);
  EXPECT_TRUE(OnAccount(sysadmin, "iam:PassRole", RoleArn(kAccount, "auditor")));
  EXPECT_TRUE(OnAccount(sysadmin, "iam:GetIam"));
  EXPECT_TRUE(OnAccount(sysadmin, "cloudtrail:LookupEvents"));
  EXPECT_FALSE(OnAccount(sysadmin, "kms:CreateKey"));
  EXPECT_FALSE(OnAccount(sysadmin, "iam:AttachUserPolicy", sysadmin.arn));
}

TEST_F(FinanceShareTest, AccountRootAdministersIamButUsesNoKey) {
  Principal root = index_.User("installer", {});
  root.is_account_root = true;
  for (const char* action : kUse) ExpectOne(root, action, false);
  for (const char* action : {"kms:PutKeyPolicy", "kms:CreateGrant", "kms:DisableKey",
                             "kms:ScheduleKeyDeletion", "kms:GetParametersForImport"})
    ExpectOne(root, action, false);
  ExpectOne(root, "kms:DescribeKey", true);
  ExpectOne(root, "kms:GetKeyPolicy", true);
  for (const char* action : {"iam:AttachUserPolicy", "iam:PassRole", "kms:CreateKey",
                             "cloudtrail:LookupEvents", "fs:GetFile"})
    EXPECT_TRUE(OnAccount(root, action)) << action;
  Principal other = root;
  other.is_account_root = false;
  EXPECT_FALSE(OnAccount(other, "iam:AttachUserPolicy"));
}

TEST_F(FinanceShareTest, AccountRootReasonNamesItsPolicy) {
  Principal root = index_.User("installer", {});
  root.is_account_root = true;
  EXPECT_EQ(DecideOnAccount(index_, root, {"kms:CreateKey", "*", {}}).reason,
            "allowed by statement 'Keys' of policy 'AccountRoot' of the account's root "
            "user");
}

TEST_F(FinanceShareTest, FilesFullAccessNamesKeysButDoesNotUseThem) {
  const Principal accounts = index_.User("accounts", {});
  EXPECT_TRUE(OnAccount(accounts, "kms:CreateKey"));
  EXPECT_TRUE(OnAccount(accounts, "fs:CreateFolder"));
  EXPECT_TRUE(OnAccount(accounts, "kms:CreateAlias",
                        "arn:aws:kms:local-1:000000000000:alias/payroll"));
  EXPECT_FALSE(OnAccount(accounts, "kms:CreateAlias", kKey));
  EXPECT_FALSE(OnAccount(accounts, "kms:Decrypt", kKey));
  EXPECT_FALSE(OnAccount(accounts, "iam:PassRole"));
}

TEST(ManagedPoliciesTest, EachAllowsWhatItSays) {
  struct Case {
    const char* policy;
    const char* action;
    bool allowed;
  };
  const Case cases[] = {
      {"AdministratorAccess", "kms:Decrypt", true},
      {"AdministratorAccess", "iam:CreateUser", true},
      {"SystemAdministrator", "kms:ListKeys", true},
      {"SystemAdministrator", "kms:GetParametersForImport", false},
      {"SystemAdministrator", "iam:SimulatePrincipalPolicy", true},
      {"SystemAdministrator", "iam:CreateUser", false},
      {"FilesReadOnlyAccess", "fs:GetFolder", true},
      {"FilesReadOnlyAccess", "fs:SetFolderKey", false},
      {"FilesReadOnlyAccess", "kms:ListAliases", true},
      {"FilesReadOnlyAccess", "kms:CreateKey", false},
      {"ConsoleReadOnlyAccess", "kms:ListKeyRotations", true},
      {"ConsoleReadOnlyAccess", "kms:ListRetirableGrants", true},
      {"ConsoleReadOnlyAccess", "kms:GetParametersForImport", false},
      {"ConsoleReadOnlyAccess", "iam:PassRole", false},
      {"ConsoleReadOnlyAccess", "kms:Decrypt", false},
      {"FilesFullAccess", "kms:GenerateDataKey", false},
      {"FilesFullAccess", "kms:ListGrants", false},
  };
  for (const Case& c : cases) {
    const IamIndex index =
        IndexOf(std::string("users: {u: {policies: [") + c.policy + "]}}");
    EXPECT_EQ(
        DecideOnAccount(index, index.User("u", {}), {c.action, "*", {}}).allowed(),
        c.allowed)
        << c.policy << " " << c.action;
  }
}

}  // namespace
}  // namespace keyfold::policy
