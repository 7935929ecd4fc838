// Grants.
#include <algorithm>
#include <span>

#include "kms/service/Operations.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

// What can be granted on a key of one usage, and on any.
constexpr std::string_view kOfEncryption[] = {"Decrypt",
                                              "Encrypt",
                                              "GenerateDataKey",
                                              "GenerateDataKeyWithoutPlaintext",
                                              "GenerateDataKeyPair",
                                              "GenerateDataKeyPairWithoutPlaintext",
                                              "ReEncryptFrom",
                                              "ReEncryptTo"};
constexpr std::string_view kOfMacs[] = {"GenerateMac", "VerifyMac"};
constexpr std::string_view kOfAny[] = {"CreateGrant", "RetireGrant", "DescribeKey"};
constexpr std::string_view kTokenPrefix = "kfg1-";
constexpr size_t kGrantIdSize = 32;

// A token names its grant; since grants act at once it carries no right.
std::string TokenOf(const std::string& grant_id) {
  return std::string(kTokenPrefix) + grant_id;
}

// GrantOfToken is the id that a token names; nothing for a text that is no token.
std::optional<std::string> GrantOfToken(const std::string& token) {
  if (!token.starts_with(kTokenPrefix)) return std::nullopt;
  std::string id = token.substr(kTokenPrefix.size());
  const auto bytes = FromHex(id);
  if (!bytes || bytes->size() != kGrantIdSize) return std::nullopt;
  return id;
}

Status BadGrantToken() {
  return {Error::kInvalidGrantToken, "The grant token is not valid."};
}

// Principals are given as ARNs or in the short form of policies.
Result<std::string> PrincipalArn(const Account& account, const std::string& text) {
  auto arn = policy::ParsePrincipal(text, account.id);
  if (arn.ok() && *arn != "*") return arn;
  return Status(Error::kInvalidArn,
                "\"" + text +
                    "\" is no principal of this account. "
                    "Write user:NAME, group:NAME, role:NAME or an ARN.");
}

bool IsGrantable(KeyUsage usage, const std::string& operation) {
  const auto among = [&](std::span<const std::string_view> list) {
    return std::find(list.begin(), list.end(), operation) != list.end();
  };
  return among(kOfAny) ||
         (usage == KeyUsage::kEncryptDecrypt ? among(kOfEncryption) : among(kOfMacs));
}

Status ParseConstraints(const json& constraints, policy::Grant& grant) {
  for (const auto& [name, value] : constraints.items()) {
    auto* target = name == "EncryptionContextEquals"   ? &grant.context_equals
                   : name == "EncryptionContextSubset" ? &grant.context_subset
                                                       : nullptr;
    bool strings = value.is_object() && !value.empty();
    if (strings)
      for (const json& item : value) strings = strings && item.is_string();
    if (target == nullptr || !strings)
      return {
          Error::kValidation,
          "1 validation error detected: 'constraints' takes EncryptionContextEquals "
          "or EncryptionContextSubset, each a map of at least one string"};
    *target = value.get<std::map<std::string, std::string>>();
  }
  return OkStatus();
}

Result<GrantRecord> RequestedGrant(const Invocation& call) {
  const Parameters& p = call.parameters;
  GrantRecord record;
  record.key_id = call.key->id;
  record.issuing_account = policy::RootArn(call.account.id);
  record.created = call.now;
  policy::Grant& grant = record.grant;
  grant.id = ToHex(RandomBytes(kGrantIdSize));
  grant.name = p.String("Name");
  KF_ASSIGN_OR_RETURN(grant.grantee,
                      PrincipalArn(call.account, p.String("GranteePrincipal")));
  if (p.Has("RetiringPrincipal")) {
    KF_ASSIGN_OR_RETURN(grant.retiring_principal,
                        PrincipalArn(call.account, p.String("RetiringPrincipal")));
  }
  for (const std::string& operation : p.Strings("Operations")) {
    if (!IsGrantable(call.key->usage(), operation))
      return Status(Error::kValidation, "The operation " + operation +
                                            " is not valid for a key whose usage is " +
                                            std::string(UsageName(call.key->usage())) +
                                            ".");
    grant.operations.insert(operation);
  }
  if (grant.operations.empty())
    return Status(Error::kValidation,
                  "1 validation error detected: 'operations' must not be empty");
  KF_RETURN_IF_ERROR(ParseConstraints(p.Structure("Constraints"), grant));
  if (p.Has("Constraints") && call.key->usage() != KeyUsage::kEncryptDecrypt)
    return Status(Error::kValidation,
                  "Grants on this key take no constraints: its operations have no "
                  "encryption context.");
  return record;
}

bool SameGrant(const policy::Grant& a, const policy::Grant& b) {
  return a.name == b.name && a.grantee == b.grantee &&
         a.retiring_principal == b.retiring_principal && a.operations == b.operations &&
         a.context_equals == b.context_equals && a.context_subset == b.context_subset;
}

// A grant whose CreateGrant comes only from another grant passes on no more than
// that grant holds.
Status CheckDelegation(const Invocation& call, const policy::Grant& wanted) {
  const policy::Request request{call.Action(), KeyArn(call.account, call.key->id),
                                call.ConditionsOn(call.key.get(), call.Action())};
  if (policy::DecideOnKey(*call.state->iam, call.principal, request, call.key->policy,
                          {})
          .allowed())
    return OkStatus();
  const auto covers = [&](const policy::Grant* held) {
    if (!held->operations.contains("CreateGrant")) return false;
    const bool operations =
        std::includes(held->operations.begin(), held->operations.end(),
                      wanted.operations.begin(), wanted.operations.end());
    const bool equals =
        held->context_equals.empty() || held->context_equals == wanted.context_equals;
    const bool subset =
        std::includes(wanted.context_subset.begin(), wanted.context_subset.end(),
                      held->context_subset.begin(), held->context_subset.end());
    return operations && equals && subset;
  };
  const auto held = call.state->GrantsOf(call.key->id).HeldBy(call.principal);
  if (std::any_of(held.begin(), held.end(), covers)) return OkStatus();
  return AccessDenied(call.principal, call.Action(),
                      KeyArn(call.account, call.key->id));
}

json Describe(const GrantRecord& record, const Account& account) {
  const policy::Grant& grant = record.grant;
  json out = {{"KeyId", KeyArn(account, record.key_id)},
              {"GrantId", grant.id},
              {"Name", grant.name},
              {"CreationDate", WireTime(record.created)},
              {"GranteePrincipal", grant.grantee},
              {"IssuingAccount", record.issuing_account},
              {"Operations", grant.operations}};
  if (!grant.retiring_principal.empty())
    out["RetiringPrincipal"] = grant.retiring_principal;
  if (!grant.context_equals.empty())
    out["Constraints"]["EncryptionContextEquals"] = grant.context_equals;
  if (!grant.context_subset.empty())
    out["Constraints"]["EncryptionContextSubset"] = grant.context_subset;
  return out;
}

// Only what the page shows is described.
Answer PageOfGrants(const Invocation& call, const std::vector<GrantRef>& found) {
  KF_ASSIGN_OR_RETURN(const PageRequest page,
                      RequestedPage(call.parameters, found.size(), 50));
  std::vector<json> items(found.size());
  for (size_t i = page.from; i < found.size() && i - page.from < page.limit; ++i)
    items[i] = Describe(*found[i], call.account);
  return Page("Grants", std::move(items), page.from, page.limit);
}

Status UnknownGrant() {
  return {Error::kInvalidGrantId, "The grant does not exist on this key."};
}

}  // namespace

Status CheckGrantTokens(const Parameters& parameters) {
  for (const std::string& token : parameters.Strings("GrantTokens"))
    if (!GrantOfToken(token)) return BadGrantToken();
  return OkStatus();
}

Answer CreateGrant(Invocation& call) {
  KF_ASSIGN_OR_RETURN(GrantRecord record, RequestedGrant(call));
  KF_RETURN_IF_ERROR(CheckDelegation(call, record.grant));
  KF_RETURN_IF_ERROR(call.DryRunDone());
  const GrantIndex& existing = call.state->GrantsOf(call.key->id);
  if (existing.all().size() >= call.quotas.grants)
    return Status(Error::kLimitExceeded, "The key has " +
                                             std::to_string(existing.all().size()) +
                                             " grants already. Retire or revoke some.");
  std::string id = record.grant.id;
  policy::Principal grantee;
  grantee.arn = record.grant.grantee;
  const auto of_grantee = existing.HeldBy(grantee);
  const auto same = std::find_if(
      of_grantee.begin(), of_grantee.end(), [&](const policy::Grant* other) {
        return !other->name.empty() && SameGrant(*other, record.grant);
      });
  if (same != of_grantee.end())
    id = (*same)->id;
  else
    call.Change().PutGrant(std::move(record));
  return json{{"GrantId", id}, {"GrantToken", TokenOf(id)}};
}

Answer ListGrants(Invocation& call) {
  const std::string id = call.parameters.String("GrantId");
  std::string grantee;
  if (call.parameters.Has("GranteePrincipal")) {
    KF_ASSIGN_OR_RETURN(
        grantee,
        PrincipalArn(call.account, call.parameters.String("GranteePrincipal")));
  }
  std::vector<GrantRef> found;
  for (const GrantRef& grant : call.state->GrantsOf(call.key->id).all())
    if ((id.empty() || grant->grant.id == id) &&
        (grantee.empty() || grant->grant.grantee == grantee))
      found.push_back(grant);
  return PageOfGrants(call, found);
}

Answer ListRetirableGrants(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  KF_ASSIGN_OR_RETURN(
      const std::string retiring,
      PrincipalArn(call.account, call.parameters.String("RetiringPrincipal")));
  std::vector<GrantRef> found;
  for (const auto& [key_id, grants] : call.state->grants)
    for (const GrantRef& grant : grants->all())
      if (grant->grant.retiring_principal == retiring) found.push_back(grant);
  return PageOfGrants(call, found);
}

Answer RevokeGrant(Invocation& call) {
  const std::string id = call.parameters.String("GrantId");
  if (!call.state->GrantsOf(call.key->id).Find(id)) return UnknownGrant();
  KF_RETURN_IF_ERROR(call.DryRunDone());
  call.Change().RemoveGrant(id);
  return json::object();
}

Answer RetireGrant(Invocation& call) {
  const Parameters& p = call.parameters;
  std::string id = p.String("GrantId");
  if (p.Has("GrantToken")) {
    const auto named = GrantOfToken(p.String("GrantToken"));
    if (!named) return BadGrantToken();
    id = *named;
  } else if (!p.Has("KeyId") || id.empty()) {
    return Status(Error::kValidation,
                  "1 validation error detected: give GrantToken, or KeyId and GrantId");
  }
  const GrantRef found = call.state->FindGrant(id);
  const KeyRef key = found ? call.state->FindKey(found->key_id) : nullptr;
  if (!key) return UnknownGrant();
  if (p.Has("KeyId") &&
      ResolveKey(*call.state, call.account, p.String("KeyId"), call.now) != key)
    return UnknownGrant();
  const policy::Grant& grant = found->grant;
  const bool retires =
      grant.retiring_principal == call.principal.arn ||
      (grant.grantee == call.principal.arn && grant.operations.contains("RetireGrant"));
  // Whoever has nothing to do with a grant learns neither that there is one nor of
  // which key; the log tells.
  if (!retires) {
    const Status allowed = call.Authorize(call.Action(), *key);
    if (!allowed.ok()) {
      call.on_record = allowed;
      return UnknownGrant();
    }
  }
  call.resources.push_back(KeyArn(call.account, key->id));
  KF_RETURN_IF_ERROR(call.DryRunDone());
  call.Change().RemoveGrant(id);
  return json::object();
}

}  // namespace keyfold
