#include "policy/model/ManagedPolicies.h"

#include <utility>

namespace keyfold::policy {
namespace {

using Names = std::vector<std::string>;

Statement Allow(std::string sid, Names actions, std::string resource = "*") {
  Statement statement;
  statement.sid = std::move(sid);
  statement.effect = Effect::kAllow;
  statement.actions = std::move(actions);
  statement.resources = {std::move(resource)};
  return statement;
}

std::map<std::string, Document> Make() {
  // What the console shows. kms:GetParametersForImport is absent: it begins an
  // import, and so is no read.
  const Names read_keys = {
      "kms:DescribeKey",          "kms:ListKeys",
      "kms:ListAliases",          "kms:GetKeyPolicy",
      "kms:ListKeyPolicies",      "kms:ListResourceTags",
      "kms:ListGrants",           "kms:ListRetirableGrants",
      "kms:GetKeyRotationStatus", "kms:ListKeyRotations",
  };
  const Names read_iam = {"iam:Get*", "iam:List*", "iam:Simulate*"};
  const Names read_audit = {"cloudtrail:LookupEvents"};

  std::map<std::string, std::vector<Statement>> statements;
  statements["AdministratorAccess"] = {Allow("Everything", {"*"})};
  // It may attach roles, and so is kept from gaining by what it attaches: see
  // Diff in policy/engine.
  statements["SystemAdministrator"] = {
      Allow("ReadKeys", read_keys), Allow("ReadIam", read_iam),
      Allow("ReadAudit", read_audit), Allow("AttachRoles", {"iam:PassRole"})};
  // It gives no use of any key: the owner of a new key gets that from the key's
  // own policy. An alias is also asked for on the key, by the key's policy.
  statements["FilesFullAccess"] = {
      Allow("Files", {"fs:*"}),
      Allow("MakeKeys", {"kms:CreateKey", "kms:ListKeys", "kms:ListAliases"}),
      Allow("NameKeys", {"kms:CreateAlias"}, "arn:aws:kms:*:*:alias/*")};
  statements["FilesReadOnlyAccess"] = {Allow("Files", {"fs:Get*", "fs:List*"}),
                                       Allow("ListAliases", {"kms:ListAliases"})};
  statements["ConsoleReadOnlyAccess"] = {Allow("ReadKeys", read_keys),
                                         Allow("ReadIam", read_iam),
                                         Allow("ReadAudit", read_audit)};
  // The account's root user administers IAM; it gets no use of keys, and can't
  // change their policies.
  statements[std::string(kAccountRootPolicy)] = {
      Allow("AdministerIam", {"iam:*"}),
      Allow("Files", {"fs:*"}),
      Allow("Keys",
            {"kms:CreateKey", "kms:CreateAlias", "kms:ListKeys", "kms:ListAliases",
             "kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListResourceTags",
             "kms:GetKeyRotationStatus", "kms:ListKeyPolicies"}),
      Allow("ReadAudit", read_audit),
      Allow("KeepAudit", {"audit:*"}),
      Allow("BackUp", {"store:BackupKeyStore"}),
      Allow("KeepRootKey", {"store:RotateRootKey", "store:ChangeRootKeyProvider"}),
      Allow("Upgrade", {"store:UpgradeStore"})};

  std::map<std::string, Document> documents;
  for (auto& [name, list] : statements)
    documents[name] = Document{name, "", std::move(list)};
  return documents;
}

}  // namespace

const std::map<std::string, Document>& ManagedPolicies() {
  static const std::map<std::string, Document> documents = Make();
  return documents;
}

}  // namespace keyfold::policy
