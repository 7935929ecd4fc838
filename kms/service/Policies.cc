// Key policies.
#include "kms/service/Operations.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

json Statement(const char* sid, json principal, json actions) {
  return {{"Sid", sid},
          {"Effect", "Allow"},
          {"Principal", {{"AWS", std::move(principal)}}},
          {"Action", std::move(actions)},
          {"Resource", "*"}};
}

std::string Document(json statements) {
  return json{{"Version", "2012-10-17"},
              {"Id", "key-default-1"},
              {"Statement", std::move(statements)}}
      .dump(2);
}

Status CheckPolicyName(const Parameters& parameters) {
  if (parameters.String("PolicyName", "default") == "default") return OkStatus();
  return {Error::kNotFound,
          "No such policy exists; a key's only policy is \"default\"."};
}

}  // namespace

std::string DefaultPolicy(const std::string& account, const std::string& creator_arn) {
  // AWS gives the account statement alone. Here its root user has no key use, so
  // the creator stands in the policy too; else no one might.
  return Document(
      {Statement("Enable IAM policies", policy::RootArn(account), "kms:*"),
       Statement("Allow the creator to administer and use", creator_arn, "kms:*")});
}

std::string ServiceKeyPolicy(const std::string& account) {
  json through_files = Statement("Allow use through the filesystem", "*",
                                 {"kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*",
                                  "kms:GenerateDataKey*", "kms:DescribeKey"});
  through_files["Condition"] = {
      {"StringEquals",
       {{"kms:CallerAccount", account}, {"kms:ViaService", "fs.keyfold"}}}};
  return Document(
      {through_files, Statement("Allow looking at the key", policy::RootArn(account),
                                {"kms:Describe*", "kms:Get*", "kms:List*"})});
}

Status ApplyPolicy(const Invocation& call, KeyRecord& key, const std::string& text) {
  KF_ASSIGN_OR_RETURN(key.policy, policy::ParsePolicy(text, "policy", call.account.id));
  key.policy_text = text;
  if (call.parameters.Boolean("BypassPolicyLockoutSafetyCheck") ||
      call.IsAllowed(call.principal, "kms:PutKeyPolicy", key))
    return OkStatus();
  return {
      Error::kMalformedPolicyDocument,
      "The new key policy will not allow you to update the key policy in the future. "
      "Allow " +
          call.principal.arn +
          " kms:PutKeyPolicy, or set BypassPolicyLockoutSafetyCheck."};
}

Answer GetKeyPolicy(Invocation& call) {
  KF_RETURN_IF_ERROR(CheckPolicyName(call.parameters));
  return json{{"Policy", policy::ToJson(call.key->policy)}, {"PolicyName", "default"}};
}

Answer PutKeyPolicy(Invocation& call) {
  KF_RETURN_IF_ERROR(CheckPolicyName(call.parameters));
  KeyRecord key = *call.key;
  KF_RETURN_IF_ERROR(ApplyPolicy(call, key, call.parameters.String("Policy")));
  call.Change().PutKey(std::move(key));
  return json::object();
}

Answer ListKeyPolicies(Invocation& call) {
  KF_ASSIGN_OR_RETURN(const PageRequest page, RequestedPage(call.parameters, 1, 100));
  return Page("PolicyNames", {"default"}, page.from, page.limit);
}

}  // namespace keyfold
