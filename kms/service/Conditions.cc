#include "kms/service/Conditions.h"

#include "policy/model/Wildcard.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

enum class Form {
  kPlain,      // the parameter's text, number, boolean or time
  kPrincipal,  // its ARN, however it was written
  kNames,      // each of a list, or the names of a structure's members
};

// A condition key of one action. `action` may have wildcards.
struct FromRequest {
  std::string_view action;
  std::string_view key;
  const char* parameter;  // null: always `otherwise`
  const char* otherwise;  // without the parameter; null: the key is absent then
  Form form = Form::kPlain;
};
constexpr FromRequest kFromRequest[] = {
    {"kms:CreateKey", "kms:KeySpec", "CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"},
    {"kms:CreateKey", "kms:KeySpec", "KeySpec", nullptr},
    {"kms:CreateKey", "kms:KeyUsage", "KeyUsage", "ENCRYPT_DECRYPT"},
    {"kms:CreateKey", "kms:KeyOrigin", "Origin", "AWS_KMS"},
    {"kms:CreateKey", "kms:MultiRegion", "MultiRegion", "false"},
    {"kms:CreateKey", "kms:BypassPolicyLockoutSafetyCheck",
     "BypassPolicyLockoutSafetyCheck", "false"},
    {"kms:PutKeyPolicy", "kms:BypassPolicyLockoutSafetyCheck",
     "BypassPolicyLockoutSafetyCheck", "false"},
    {"kms:Encrypt", "kms:EncryptionAlgorithm", "EncryptionAlgorithm",
     "SYMMETRIC_DEFAULT"},
    {"kms:Decrypt", "kms:EncryptionAlgorithm", "EncryptionAlgorithm",
     "SYMMETRIC_DEFAULT"},
    {"kms:GenerateDataKey*", "kms:EncryptionAlgorithm", nullptr, "SYMMETRIC_DEFAULT"},
    {"kms:ReEncryptFrom", "kms:EncryptionAlgorithm", "SourceEncryptionAlgorithm",
     "SYMMETRIC_DEFAULT"},
    {"kms:ReEncryptTo", "kms:EncryptionAlgorithm", "DestinationEncryptionAlgorithm",
     "SYMMETRIC_DEFAULT"},
    {"kms:GenerateDataKeyPair*", "kms:DataKeyPairSpec", "KeyPairSpec", nullptr},
    {"kms:GenerateMac", "kms:MacAlgorithm", "MacAlgorithm", nullptr},
    {"kms:VerifyMac", "kms:MacAlgorithm", "MacAlgorithm", nullptr},
    {"kms:ScheduleKeyDeletion", "kms:ScheduleKeyDeletionPendingWindowInDays",
     "PendingWindowInDays", "30"},
    {"kms:EnableKeyRotation", "kms:RotationPeriodInDays", "RotationPeriodInDays",
     "365"},
    {"kms:GetParametersForImport", "kms:WrappingAlgorithm", "WrappingAlgorithm",
     nullptr},
    {"kms:GetParametersForImport", "kms:WrappingKeySpec", "WrappingKeySpec", nullptr},
    {"kms:ImportKeyMaterial", "kms:ExpirationModel", "ExpirationModel",
     "KEY_MATERIAL_EXPIRES"},
    {"kms:ImportKeyMaterial", "kms:ValidTo", "ValidTo", nullptr},
    {"kms:CreateGrant", "kms:GranteePrincipal", "GranteePrincipal", nullptr,
     Form::kPrincipal},
    {"kms:CreateGrant", "kms:RetiringPrincipal", "RetiringPrincipal", nullptr,
     Form::kPrincipal},
    {"kms:CreateGrant", "kms:GrantOperations", "Operations", nullptr, Form::kNames},
    {"kms:CreateGrant", "kms:GrantConstraintType", "Constraints", nullptr,
     Form::kNames},
    // Nobody calls for AWS's services here.
    {"kms:CreateGrant", "kms:GrantIsForAWSResource", nullptr, "false"},
    {"kms:ListGrants", "kms:GrantIsForAWSResource", nullptr, "false"},
    {"kms:RevokeGrant", "kms:GrantIsForAWSResource", nullptr, "false"},
    {"kms:UntagResource", "aws:TagKeys", "TagKeys", nullptr, Form::kNames},
};

std::vector<std::string> NamesIn(const json& value) {
  std::vector<std::string> names;
  for (const auto& [name, member] : value.items())
    names.push_back(value.is_array() && member.is_string() ? member.get<std::string>()
                                                           : name);
  return names;
}

// A principal that can't be read stays as it was written; the call will fail.
std::string PrincipalIn(const std::string& text, const Account& account) {
  const auto arn = policy::ParsePrincipal(text, account.id);
  return arn.ok() ? *arn : text;
}

std::vector<std::string> ValuesOf(const FromRequest& row, const Parameters& parameters,
                                  const Account& account) {
  if (row.form == Form::kNames) return NamesIn(parameters.Structure(row.parameter));
  const std::string text = parameters.Text(row.parameter);
  return {row.form == Form::kPrincipal ? PrincipalIn(text, account) : text};
}

// Tags that are no tags are refused later.
void AddTags(policy::Context& conditions, const json& tags) {
  for (const json& tag : tags) {
    const auto name = tag.find("TagKey"), value = tag.find("TagValue");
    if (name == tag.end() || !name->is_string()) continue;
    conditions["aws:TagKeys"].push_back(*name);
    if (value != tag.end() && value->is_string())
      conditions["aws:RequestTag/" + name->get<std::string>()] = {*value};
  }
}

}  // namespace

policy::Context BaseConditions(const Account& account, TimePoint now) {
  return {{"kms:CallerAccount", {account.id}}, {"aws:CurrentTime", {FormatUtc(now)}}};
}

policy::Context KeyConditions(const Account& account, const State& state,
                              const KeyRecord& key, TimePoint now) {
  policy::Context conditions = BaseConditions(account, now);
  conditions["kms:KeyOrigin"] = {std::string(OriginName(key.origin))};
  conditions["kms:KeySpec"] = {std::string(TraitsOf(key.spec).name)};
  conditions["kms:KeyUsage"] = {std::string(UsageName(key.usage()))};
  conditions["kms:MultiRegion"] = {"false"};
  const std::set<std::string>& aliases = state.AliasesOf(key.id);
  if (!aliases.empty())
    conditions["kms:ResourceAliases"] = {aliases.begin(), aliases.end()};
  for (const auto& [name, value] : key.tags)
    conditions["aws:ResourceTag/" + name] = {value};
  return conditions;
}

void AddContext(policy::Context& conditions, const EncryptionContext& context) {
  for (const auto& [name, value] : context) {
    conditions["kms:EncryptionContext:" + name] = {value};
    conditions["kms:EncryptionContextKeys"].push_back(name);
  }
}

void AddRequest(policy::Context& conditions, std::string_view action,
                const Parameters& parameters, const Account& account) {
  for (const FromRequest& row : kFromRequest) {
    if (!policy::MatchWildcardIgnoreCase(row.action, action)) continue;
    if (row.parameter != nullptr && parameters.Has(row.parameter))
      conditions[std::string(row.key)] = ValuesOf(row, parameters, account);
    else if (row.otherwise != nullptr)
      conditions[std::string(row.key)] = {row.otherwise};
  }
  if (policy::EqualsIgnoreCase(action, "kms:CreateKey") ||
      policy::EqualsIgnoreCase(action, "kms:TagResource"))
    AddTags(conditions, parameters.Structure("Tags"));
}

}  // namespace keyfold
