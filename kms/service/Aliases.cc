// Aliases: names of keys. An alias is changed by whoever may do so on the key
// it names; creating one also needs the right on the alias itself.
#include <algorithm>

#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "alias/";
constexpr std::string_view kReserved = "alias/aws/";
constexpr size_t kMaxAlias = 256;
constexpr size_t kMaxAliasesPerKey = 50;

Status CheckName(const std::string& name) {
  if (name.size() > kMaxAlias)
    return {Error::kValidation,
            "1 validation error detected: 'aliasName' must have length less than or "
            "equal to 256"};
  for (char c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      (c >= '0' && c <= '9') || c == '/' || c == '_' || c == '-';
    if (!good)
      return {Error::kValidation,
              "1 validation error detected: Value '" + name +
                  "' at 'aliasName' failed to satisfy constraint: Member must satisfy "
                  "regular expression pattern: alias/[a-zA-Z0-9/_-]+"};
  }
  if (!name.starts_with(kPrefix))
    return {Error::kValidation,
            "Invalid identifier: an alias begins with \"alias/\", such as alias/cfo"};
  if (name == kPrefix)
    return {Error::kInvalidAliasName, "An alias needs a name after \"alias/\"."};
  if (name.starts_with(kReserved))
    return {Error::kNotAuthorized, "Aliases that begin with alias/aws/ are reserved."};
  return OkStatus();
}

Result<AliasRecord> FindAlias(Invocation& call, const std::string& name) {
  const auto it = call.state->aliases.find(name);
  if (it != call.state->aliases.end()) return it->second;
  const std::string arn = AliasArn(call.account, name);
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), arn));
  return Status(Error::kNotFound, "Alias " + arn + " is not found.");
}

Status RefuseServiceKey(const Invocation& call, const KeyRecord& key) {
  if (key.manager == KeyManager::kCustomer) return OkStatus();
  return AccessDenied(call.principal, call.Action(), KeyArn(call.account, key.id));
}

// Programs that use an alias must find a key that can do the same.
Status RequireSameUsage(const KeyRecord& before, const KeyRecord& after) {
  if (before.usage() == after.usage()) return OkStatus();
  return {Error::kValidation, "Alias cannot be changed from a key whose usage is " +
                                  std::string(UsageName(before.usage())) +
                                  " to one whose usage is " +
                                  std::string(UsageName(after.usage())) +
                                  ". Delete the alias and create it again."};
}

// RequireRoom keeps one who may name a key from filling the store with names.
Status RequireRoom(const Invocation& call) {
  const auto& aliases = call.state->aliases;
  const auto count =
      std::count_if(aliases.begin(), aliases.end(),
                    [&](const auto& one) { return one.second.target == call.key->id; });
  if (static_cast<size_t>(count) < kMaxAliasesPerKey) return OkStatus();
  return {Error::kLimitExceeded, "The key has 50 aliases already."};
}

}  // namespace

Answer CreateAlias(Invocation& call) {
  const std::string name = call.parameters.String("AliasName");
  KF_RETURN_IF_ERROR(CheckName(name));
  KF_RETURN_IF_ERROR(RefuseServiceKey(call, *call.key));
  KF_RETURN_IF_ERROR(
      call.AuthorizeOnAccount(call.Action(), AliasArn(call.account, name)));
  if (call.state->aliases.contains(name))
    return Status(
        Error::kAlreadyExists,
        "An alias with the name " + AliasArn(call.account, name) + " already exists");
  KF_RETURN_IF_ERROR(RequireRoom(call));
  call.Change().PutAlias({name, call.key->id, call.now, call.now});
  return json::object();
}

Answer UpdateAlias(Invocation& call) {
  const std::string name = call.parameters.String("AliasName");
  KF_RETURN_IF_ERROR(CheckName(name));
  KF_RETURN_IF_ERROR(RefuseServiceKey(call, *call.key));
  KF_ASSIGN_OR_RETURN(AliasRecord alias, FindAlias(call, name));
  if (const KeyRef before = call.state->FindKey(alias.target)) {
    KF_RETURN_IF_ERROR(call.Authorize(call.Action(), *before));
    KF_RETURN_IF_ERROR(RequireSameUsage(*before, *call.key));
  }
  if (alias.target != call.key->id) KF_RETURN_IF_ERROR(RequireRoom(call));
  alias.target = call.key->id;
  alias.updated = call.now;
  call.Change().PutAlias(std::move(alias));
  return json::object();
}

Answer DeleteAlias(Invocation& call) {
  const std::string name = call.parameters.String("AliasName");
  KF_RETURN_IF_ERROR(CheckName(name));
  KF_ASSIGN_OR_RETURN(const AliasRecord alias, FindAlias(call, name));
  if (const KeyRef target = call.state->FindKey(alias.target))
    KF_RETURN_IF_ERROR(call.Authorize(call.Action(), *target));
  call.Change().RemoveAlias(name);
  return json::object();
}

Answer ListAliases(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  KeyRef only;
  if (call.parameters.Has("KeyId")) {
    const std::string given = call.parameters.String("KeyId");
    only = ResolveKey(*call.state, call.account, given, call.now);
    if (!only) return Status(Error::kNotFound, "Key '" + given + "' does not exist");
  }
  std::vector<json> items;
  for (const auto& [name, alias] : call.state->aliases)
    if (!only || alias.target == only->id)
      items.push_back({{"AliasName", name},
                       {"AliasArn", AliasArn(call.account, name)},
                       {"TargetKeyId", alias.target},
                       {"CreationDate", WireTime(alias.created)},
                       {"LastUpdatedDate", WireTime(alias.updated)}});
  KF_ASSIGN_OR_RETURN(const PageRequest page,
                      RequestedPage(call.parameters, items.size(), 50));
  return Page("Aliases", std::move(items), page.from, page.limit);
}

}  // namespace keyfold
