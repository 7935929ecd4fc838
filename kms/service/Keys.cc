// Keys, their descriptions and tags.
#include "kms/service/Limits.h"
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxTags = 50;
constexpr std::string_view kUnavailableState = "Unavailable";

json Metadata(const Invocation& call, const KeyRecord& key) {
  const KeyState state = key.StateAt(call.now);
  // As AWS says it of a key whose key store is not connected.
  const bool away = state == KeyState::kEnabled && !call.root_keys.Check().ok();
  const KeySpecTraits& spec = TraitsOf(key.spec);
  json out = {{"AWSAccountId", call.account.id},
              {"KeyId", key.id},
              {"Arn", KeyArn(call.account, key.id)},
              {"CreationDate", WireTime(key.created)},
              {"Enabled", state == KeyState::kEnabled && !away},
              {"Description", key.description},
              {"KeyUsage", UsageName(key.usage())},
              {"KeyState", away ? kUnavailableState : StateName(state)},
              {"Origin", OriginName(key.origin)},
              {"KeyManager", ManagerName(key.manager)},
              {"CustomerMasterKeySpec", spec.name},
              {"KeySpec", spec.name},
              {key.usage() == KeyUsage::kEncryptDecrypt ? "EncryptionAlgorithms"
                                                        : "MacAlgorithms",
               {spec.algorithm}},
              {"MultiRegion", false}};
  if (key.deletion_date) out["DeletionDate"] = WireTime(*key.deletion_date);
  if (const uint32_t current = key.CurrentVersion(); current != 0)
    if (std::string id = MaterialId(key, current); !id.empty())
      out["CurrentKeyMaterialId"] = std::move(id);
  if (key.origin == Origin::kExternal && key.HasMaterial(call.now)) {
    const auto expiry = key.EarliestExpiry();
    out["ExpirationModel"] =
        expiry ? "KEY_MATERIAL_EXPIRES" : "KEY_MATERIAL_DOES_NOT_EXPIRE";
    if (expiry) out["ValidTo"] = WireTime(*expiry);
  }
  return out;
}

Status BadTag(const std::string& why) { return {Error::kTagException, why}; }

// AddTags merges a list of {TagKey, TagValue} into `tags`.
Status AddTags(const json& list, std::map<std::string, std::string>& tags) {
  std::set<std::string> seen;
  for (const json& tag : list) {
    if (tag.size() != 2 || !tag.contains("TagKey") || !tag.contains("TagValue") ||
        !tag["TagKey"].is_string() || !tag["TagValue"].is_string())
      return {Error::kValidation,
              "1 validation error detected: each of 'tags' must have "
              "a TagKey and a TagValue"};
    const auto name = tag["TagKey"].get<std::string>();
    const auto value = tag["TagValue"].get<std::string>();
    KF_RETURN_IF_ERROR(CheckText("TagKey", name, {1, 128}));
    KF_RETURN_IF_ERROR(CheckText("TagValue", value, {0, 256}));
    if (name.starts_with("aws:")) return BadTag("Tag keys must not start with aws:");
    if (!seen.insert(name).second) return BadTag("Duplicate tag key: " + name);
    tags[name] = value;
  }
  if (const std::string twice = policy::TwiceButForCase(tags); !twice.empty())
    return BadTag("Tag keys must differ by more than case: " + twice);
  if (tags.size() > kMaxTags) return BadTag("A key has at most 50 tags.");
  return OkStatus();
}

Status NotSupported(const std::string& what) {
  return {Error::kUnsupportedOperation, what + " are not supported."};
}

// RequestedSpec is the spec of the key to be made.
Result<KeySpec> RequestedSpec(const Parameters& p) {
  if (p.Has("KeySpec") && p.Has("CustomerMasterKeySpec"))
    return Status(Error::kValidation,
                  "You cannot specify KeySpec and CustomerMasterKeySpec in the same "
                  "request. CustomerMasterKeySpec is deprecated.");
  const std::string name =
      p.String("KeySpec", p.String("CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"));
  const std::string usage =
      p.String("KeyUsage", std::string(UsageName(KeyUsage::kEncryptDecrypt)));
  const KeySpecTraits* spec = FindKeySpec(name);
  if (spec == nullptr) return NotSupported("Asymmetric keys");
  if (usage != UsageName(spec->usage))
    return Status(Error::kValidation,
                  "KeyUsage " + usage + " is not compatible with KeySpec " + name);
  return spec->spec;
}

Result<Origin> RequestedOrigin(const Parameters& p) {
  const std::string name = p.String("Origin", std::string(OriginName(Origin::kAwsKms)));
  for (Origin origin : {Origin::kAwsKms, Origin::kExternal})
    if (name == OriginName(origin)) return origin;
  return NotSupported("Custom key stores");
}

Status CheckCreation(const Parameters& p) {
  if (p.Boolean("MultiRegion")) return NotSupported("Multi-Region keys");
  if (p.Has("CustomKeyStoreId") || p.Has("XksKeyId"))
    return NotSupported("Custom key stores");
  return OkStatus();
}

}  // namespace

KeyRecord MakeKey(KeySpec spec, Origin origin, KeyManager manager, TimePoint now) {
  KeyRecord key;
  key.id = RandomUuid();
  key.created = now;
  key.origin = origin;
  key.spec = spec;
  key.manager = manager;
  return key;
}

Answer CreateKey(Invocation& call) {
  const Parameters& p = call.parameters;
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  KF_RETURN_IF_ERROR(CheckCreation(p));
  KF_ASSIGN_OR_RETURN(const KeySpec spec, RequestedSpec(p));
  KF_ASSIGN_OR_RETURN(const Origin origin, RequestedOrigin(p));
  KeyRecord key = MakeKey(spec, origin, KeyManager::kCustomer, call.now);
  if (origin == Origin::kAwsKms) {
    KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
    AddVersion(*secrets, key, "", call.now);
  }
  key.description = p.String("Description");
  KF_RETURN_IF_ERROR(AddTags(p.Structure("Tags"), key.tags));
  KF_RETURN_IF_ERROR(ApplyPolicy(
      call, key,
      p.String("Policy", DefaultPolicy(call.account.id, call.principal.arn))));
  call.resources.push_back(KeyArn(call.account, key.id));
  json answer = {{"KeyMetadata", Metadata(call, key)}};
  call.Change().PutKey(std::move(key));
  return answer;
}

Answer DescribeKey(Invocation& call) {
  return json{{"KeyMetadata", Metadata(call, *call.key)}};
}

Answer ListKeys(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  std::vector<json> items;
  for (const auto& [id, key] : call.state->keys)
    items.push_back({{"KeyId", id}, {"KeyArn", KeyArn(call.account, id)}});
  KF_ASSIGN_OR_RETURN(const PageRequest page,
                      RequestedPage(call.parameters, items.size(), 100));
  return Page("Keys", std::move(items), page.from, page.limit);
}

Answer UpdateKeyDescription(Invocation& call) {
  KeyRecord key = *call.key;
  key.description = call.parameters.String("Description");
  call.Change().PutKey(std::move(key));
  return json::object();
}

Answer TagResource(Invocation& call) {
  KeyRecord key = *call.key;
  KF_RETURN_IF_ERROR(AddTags(call.parameters.Structure("Tags"), key.tags));
  call.Change().PutKey(std::move(key));
  return json::object();
}

Answer UntagResource(Invocation& call) {
  KeyRecord key = *call.key;
  for (const std::string& name : call.parameters.Strings("TagKeys"))
    key.tags.erase(name);
  call.Change().PutKey(std::move(key));
  return json::object();
}

Answer ListResourceTags(Invocation& call) {
  std::vector<json> items;
  for (const auto& [name, value] : call.key->tags)
    items.push_back({{"TagKey", name}, {"TagValue", value}});
  KF_ASSIGN_OR_RETURN(const PageRequest page,
                      RequestedPage(call.parameters, items.size(), 50));
  return Page("Tags", std::move(items), page.from, page.limit);
}

}  // namespace keyfold
