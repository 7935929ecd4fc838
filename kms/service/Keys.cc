// Keys, their descriptions and tags.
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxTags = 50;
constexpr size_t kMaxDescription = 8192;

json Metadata(const Account& account, const KeyRecord& key, TimePoint now) {
  const KeyState state = key.StateAt(now);
  json out = {{"AWSAccountId", account.id},
              {"KeyId", key.id},
              {"Arn", KeyArn(account, key.id)},
              {"CreationDate", WireTime(key.created)},
              {"Enabled", state == KeyState::kEnabled},
              {"Description", key.description},
              {"KeyUsage", "ENCRYPT_DECRYPT"},
              {"KeyState", StateName(state)},
              {"Origin", OriginName(key.origin)},
              {"KeyManager", ManagerName(key.manager)},
              {"CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"},
              {"KeySpec", "SYMMETRIC_DEFAULT"},
              {"EncryptionAlgorithms", {"SYMMETRIC_DEFAULT"}},
              {"MultiRegion", false}};
  if (key.deletion_date) out["DeletionDate"] = WireTime(*key.deletion_date);
  if (key.origin == Origin::kExternal && key.HasMaterial(now)) {
    out["ExpirationModel"] =
        key.valid_to ? "KEY_MATERIAL_EXPIRES" : "KEY_MATERIAL_DOES_NOT_EXPIRE";
    if (key.valid_to) out["ValidTo"] = WireTime(*key.valid_to);
  }
  return out;
}

Status CheckDescription(const std::string& description) {
  if (description.size() <= kMaxDescription) return OkStatus();
  return {Error::kValidation,
          "1 validation error detected: 'description' must have length less than or "
          "equal to 8192"};
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
    if (name.empty() || name.size() > 128 || value.size() > 256)
      return BadTag("A tag key has 1 to 128 characters, a tag value up to 256.");
    if (name.starts_with("aws:")) return BadTag("Tag keys must not start with aws:");
    if (!seen.insert(name).second) return BadTag("Duplicate tag key: " + name);
    tags[name] = value;
  }
  if (tags.size() > kMaxTags) return BadTag("A key has at most 50 tags.");
  return OkStatus();
}

Status CheckCreation(const Parameters& p) {
  if (p.Boolean("MultiRegion"))
    return {Error::kUnsupportedOperation, "Multi-Region keys are not supported."};
  if (p.String("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT")
    return {Error::kUnsupportedOperation,
            "Only the key usage ENCRYPT_DECRYPT is supported."};
  for (const char* name : {"KeySpec", "CustomerMasterKeySpec"})
    if (p.String(name, "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT")
      return {Error::kUnsupportedOperation,
              "Only the key spec SYMMETRIC_DEFAULT is supported."};
  KF_RETURN_IF_ERROR(
      OneOf("Origin", p.String("Origin", "AWS_KMS"),
            {"AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"}));
  const std::string origin = p.String("Origin", "AWS_KMS");
  if (origin != "AWS_KMS" && origin != "EXTERNAL")
    return {Error::kUnsupportedOperation, "Custom key stores are not supported."};
  return CheckDescription(p.String("Description"));
}

}  // namespace

KeyRecord MakeKey(const RootSecrets& secrets, Origin origin, KeyManager manager,
                  TimePoint now) {
  KeyRecord key;
  key.id = RandomUuid();
  key.created = now;
  key.origin = origin;
  key.manager = manager;
  if (origin == Origin::kAwsKms) AddVersion(secrets, key, "", now);
  return key;
}

Answer CreateKey(Invocation& call) {
  const Parameters& p = call.parameters;
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  KF_RETURN_IF_ERROR(CheckCreation(p));
  const Origin origin =
      p.String("Origin") == "EXTERNAL" ? Origin::kExternal : Origin::kAwsKms;
  KeyRecord key = MakeKey(call.secrets, origin, KeyManager::kCustomer, call.now);
  key.description = p.String("Description");
  KF_RETURN_IF_ERROR(AddTags(p.Structure("Tags"), key.tags));
  KF_RETURN_IF_ERROR(ApplyPolicy(
      call, key,
      p.String("Policy", DefaultPolicy(call.account.id, call.principal.arn))));
  call.resources.push_back(KeyArn(call.account, key.id));
  json answer = {{"KeyMetadata", Metadata(call.account, key, call.now)}};
  call.Change().PutKey(std::move(key));
  return answer;
}

Answer DescribeKey(Invocation& call) {
  return json{{"KeyMetadata", Metadata(call.account, *call.key, call.now)}};
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
  KF_RETURN_IF_ERROR(CheckDescription(key.description));
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
