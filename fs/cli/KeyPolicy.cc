#include "fs/cli/KeyPolicy.h"

namespace keyfold {
namespace {

using nlohmann::json;

json Allow(const char* sid, const json& principals, json actions) {
  return {{"Sid", sid},
          {"Effect", "Allow"},
          {"Principal", {{"AWS", principals}}},
          {"Action", std::move(actions)},
          {"Resource", "*"}};
}

json AdministratorActions(const KeyPolicyOptions& options) {
  json actions = {"kms:Create*",
                  "kms:Describe*",
                  "kms:Enable*",
                  "kms:List*",
                  "kms:Put*",
                  "kms:Update*",
                  "kms:Revoke*",
                  "kms:Disable*",
                  "kms:Get*",
                  "kms:Delete*",
                  "kms:TagResource",
                  "kms:UntagResource",
                  "kms:RotateKeyOnDemand"};
  if (options.imports_material) actions.push_back("kms:ImportKeyMaterial");
  if (options.administrators_may_delete) {
    actions.push_back("kms:ScheduleKeyDeletion");
    actions.push_back("kms:CancelKeyDeletion");
  }
  return actions;
}

json UserActions(const KeyPolicyOptions& options) {
  if (options.makes_macs)
    return {"kms:GenerateMac", "kms:VerifyMac", "kms:DescribeKey"};
  return {"kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*",
          "kms:DescribeKey"};
}

}  // namespace

json ConsolePolicy(const KeyPolicyOptions& options) {
  json statements = json::array();
  statements.push_back(Allow("Enable IAM policies", "account", "kms:*"));
  if (!options.administrators.empty())
    statements.push_back(Allow("Allow access for Key Administrators",
                               options.administrators, AdministratorActions(options)));
  if (!options.users.empty()) {
    statements.push_back(
        Allow("Allow use of the key", options.users, UserActions(options)));
    json grants = Allow("Allow attachment of persistent resources", options.users,
                        {"kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"});
    grants["Condition"] = {{"Bool", {{"kms:GrantIsForAWSResource", "true"}}}};
    statements.push_back(std::move(grants));
  }
  return {{"Version", "2012-10-17"}, {"Statement", std::move(statements)}};
}

}  // namespace keyfold
