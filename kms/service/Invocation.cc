#include "kms/service/Invocation.h"

#include <algorithm>
#include <charconv>

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kMarkerPrefix[] = "kf1-";
constexpr char kRequestAlias[] = "kms:RequestAlias";

std::string AccountArnPrefix(const Account& account) {
  return "arn:aws:kms:" + account.region + ":" + account.id + ":";
}

// The ARN a caller's way of naming a key stands for.
std::string NamedArn(const Account& account, const std::string& given) {
  if (given.starts_with("arn:")) return given;
  return given.starts_with("alias/") ? AliasArn(account, given)
                                     : KeyArn(account, given);
}

// The alias a key is named by, without its ARN; nothing if it is named otherwise.
std::optional<std::string> AliasIn(const Account& account, const std::string& given) {
  std::string name = given;
  const std::string prefix = AccountArnPrefix(account);
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  if (!name.starts_with("alias/")) return std::nullopt;
  return name;
}

}  // namespace

std::string KeyArn(const Account& account, std::string_view key_id) {
  return AccountArnPrefix(account) + "key/" + std::string(key_id);
}

std::string AliasArn(const Account& account, std::string_view alias) {
  return AccountArnPrefix(account) + std::string(alias);
}

KeyRef ResolveKey(const State& state, const Account& account, const std::string& given,
                  TimePoint now) {
  std::string name = given;
  const std::string key_prefix = AccountArnPrefix(account) + "key/";
  if (const auto alias_name = AliasIn(account, given)) {
    const auto alias = state.aliases.find(*alias_name);
    if (alias == state.aliases.end()) return nullptr;
    name = alias->second.target;
  } else if (given.starts_with(key_prefix)) {
    name.erase(0, key_prefix.size());
  }
  KeyRef key = state.FindKey(name);
  return key && !key->DueForDestruction(now) ? key : nullptr;
}

Status AccessDenied(const policy::Principal& principal, std::string_view action,
                    std::string_view resource) {
  return {Error::kAccessDenied,
          "User: " + principal.arn + " is not authorized to perform: " +
              std::string(action) + " on resource: " + std::string(resource)};
}

Status RequireEnabled(const Account& account, const KeyRecord& key, TimePoint now) {
  const std::string arn = KeyArn(account, key.id);
  switch (key.StateAt(now)) {
    case KeyState::kEnabled:
      return OkStatus();
    case KeyState::kDisabled:
      return {Error::kDisabled, arn + " is disabled."};
    case KeyState::kPendingImport:
      return {Error::kInvalidState, arn + " is pending import."};
    case KeyState::kPendingDeletion:
      return {Error::kInvalidState, arn + " is pending deletion."};
  }
  return OkStatus();
}

Status RequireUse(const Account& account, const KeyRecord& key, KeyUsage usage,
                  TimePoint now) {
  if (key.usage() == usage) return RequireEnabled(account, key, now);
  return {Error::kInvalidKeyUsage, KeyArn(account, key.id) + " key usage is " +
                                       std::string(UsageName(key.usage())) +
                                       " which is not valid for this operation."};
}

std::string Invocation::Action() const {
  return std::string(operation.service) + ":" + std::string(operation.name);
}

Result<KeyRef> Invocation::FindKey(const std::string& given,
                                   const std::string& action) {
  const std::string arn = NamedArn(account, given);
  KeyRef found = ResolveKey(*state, account, given, now);
  conditions.erase(kRequestAlias);
  if (const auto alias = AliasIn(account, given)) conditions[kRequestAlias] = {*alias};
  if (!found) {
    KF_RETURN_IF_ERROR(AuthorizeOnAccount(action, arn));
    const bool alias = given.find("alias/") != std::string::npos;
    return Status(Error::kNotFound, alias ? "Alias " + arn + " is not found."
                                          : "Key '" + arn + "' does not exist");
  }
  resources.push_back(KeyArn(account, found->id));
  if (!IsAllowed(principal, action, *found))
    return AccessDenied(principal, action, arn);
  return found;
}

Status Invocation::Authorize(const std::string& action, const KeyRecord& target) {
  const std::string arn = KeyArn(account, target.id);
  conditions.erase(kRequestAlias);
  resources.push_back(arn);
  return IsAllowed(principal, action, target) ? OkStatus()
                                              : AccessDenied(principal, action, arn);
}

Status Invocation::AuthorizeOnAccount(const std::string& action,
                                      const std::string& resource) const {
  const policy::Request request{action, resource, ConditionsOn(nullptr, action)};
  return policy::DecideOnAccount(*state->iam, principal, request).allowed()
             ? OkStatus()
             : AccessDenied(principal, action, resource);
}

bool Invocation::IsDenied(const std::string& action,
                          const std::string& resource) const {
  const policy::Request request{action, resource, ConditionsOn(nullptr, action)};
  return policy::DecideOnAccount(*state->iam, principal, request).outcome ==
         policy::Outcome::kExplicitDeny;
}

bool Invocation::IsAllowed(const policy::Principal& who, const std::string& action,
                           const KeyRecord& target) const {
  const policy::Request request{action, KeyArn(account, target.id),
                                ConditionsOn(&target, action)};
  return policy::DecideOnKey(*state->iam, who, request, target.policy,
                             state->GrantsOf(target.id).HeldBy(who))
      .allowed();
}

policy::LazyContext Invocation::ConditionsOn(const KeyRecord* target,
                                             std::string action) const {
  return policy::LazyContext([this, target, action = std::move(action)] {
    policy::Context known = target == nullptr
                                ? BaseConditions(account, now)
                                : KeyConditions(account, *state, *target, now);
    AddContext(known, parameters.Map(context_parameter));
    AddRequest(known, action, parameters, account);
    for (const auto& [name, values] : conditions) known[name] = values;
    return known;
  });
}

Status Invocation::RequireUse(const KeyRecord& target, KeyUsage usage) const {
  return keyfold::RequireUse(account, target, usage, now);
}

Status Invocation::DryRunDone() const {
  if (!parameters.Boolean("DryRun")) return OkStatus();
  return {Error::kDryRunOperation,
          "The request would have succeeded, but the DryRun option is set."};
}

Result<Bytes> EncryptUnder(const RootSecrets& secrets, const KeyRecord& key,
                           const EncryptionContext& context, const SecretBytes& plain) {
  const MaterialVersion* version = key.FindVersion(key.CurrentVersion());
  if (version == nullptr)
    return Status(Error::kInvalidState, "The key has no material.");
  KF_ASSIGN_OR_RETURN(const CmkMaterial material, OpenMaterial(secrets, key, *version));
  return SealBlob(material, {key.id, version->version}, context, plain);
}

Result<SecretBytes> DecryptUnder(const RootSecrets& secrets, const KeyRecord& key,
                                 ByteView blob, const EncryptionContext& context) {
  const auto header = ParseBlobHeader(blob);
  const MaterialVersion* version = header ? key.FindVersion(header->version) : nullptr;
  const ImportedMaterial* known = header ? key.FindMaterial(header->version) : nullptr;
  if (version == nullptr && known != nullptr)
    return Status(Error::kInvalidState,
                  "The key material of this ciphertext is not there. Import it again: "
                  "its KeyMaterialId is " +
                      MaterialId(key, header->version) + ".");
  if (version == nullptr)
    return Status(Error::kInvalidCiphertext,
                  "The ciphertext names no version of its key.");
  KF_ASSIGN_OR_RETURN(const CmkMaterial material, OpenMaterial(secrets, key, *version));
  return OpenBlob(material, blob, context);
}

Result<PageRequest> RequestedPage(const Parameters& parameters, size_t size,
                                  size_t default_limit) {
  PageRequest page{0, default_limit};
  if (const auto limit = parameters.Integer("Limit"))
    page.limit = static_cast<size_t>(*limit);
  if (!parameters.Has("Marker")) return page;
  const std::string marker = parameters.String("Marker");
  const char* end = marker.data() + marker.size();
  const size_t skip = sizeof kMarkerPrefix - 1;
  if (marker.starts_with(kMarkerPrefix)) {
    const auto parsed = std::from_chars(marker.data() + skip, end, page.from);
    if (parsed.ec == std::errc() && parsed.ptr == end && page.from <= size) return page;
  }
  return Status(Error::kInvalidMarker, "Could not deserialize the marker.");
}

json Page(const std::string& name, std::vector<json> items, size_t from, size_t limit) {
  json list = json::array();
  const size_t end = std::min(items.size(), from + limit);
  for (size_t i = from; i < end; ++i) list.push_back(std::move(items[i]));
  json answer = {{name, std::move(list)}, {"Truncated", end < items.size()}};
  if (end < items.size()) answer["NextMarker"] = kMarkerPrefix + std::to_string(end);
  return answer;
}

}  // namespace keyfold
