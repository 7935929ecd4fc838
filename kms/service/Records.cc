#include "kms/service/Records.h"

#include <algorithm>

#include "kms/store/KeyStore.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

TimePoint TimeOf(const json& value) {
  return TimePoint(std::chrono::milliseconds(value.get<int64_t>()));
}

void PutTime(json& body, const char* name, const std::optional<TimePoint>& time) {
  if (time) body[name] = Milliseconds(*time);
}

std::optional<TimePoint> OptionalTime(const json& body, const char* name) {
  const auto it = body.find(name);
  if (it == body.end()) return std::nullopt;
  return TimeOf(*it);
}

Bytes BytesOf(const json& value) {
  auto bytes = FromBase64(value.get_ref<const std::string&>());
  if (!bytes) throw std::invalid_argument("base64");
  return *std::move(bytes);
}

KeySpec SpecOf(const json& value) {
  const KeySpecTraits* traits = FindKeySpec(value.get_ref<const std::string&>());
  if (traits == nullptr) throw std::invalid_argument("spec");
  return traits->spec;
}

// Guarded turns the exceptions of nlohmann-json into kCorrupt.
template <typename Body>
auto Guarded(const std::string& id, Body&& parse) -> Result<decltype(parse())> {
  try {
    return parse();
  } catch (const std::exception&) {
    return Status(Error::kCorrupt, "The key store's row \"" + id + "\" is damaged.");
  }
}

}  // namespace

std::string_view OriginName(Origin origin) {
  return origin == Origin::kExternal ? "EXTERNAL" : "AWS_KMS";
}

std::string_view ManagerName(KeyManager manager) {
  return manager == KeyManager::kAws ? "AWS" : "CUSTOMER";
}

std::string_view StateName(KeyState state) {
  switch (state) {
    case KeyState::kEnabled:
      return "Enabled";
    case KeyState::kDisabled:
      return "Disabled";
    case KeyState::kPendingImport:
      return "PendingImport";
    case KeyState::kPendingDeletion:
      return "PendingDeletion";
  }
  std::abort();
}

bool KeyRecord::HasMaterial(TimePoint now) const {
  if (origin == Origin::kAwsKms) return !versions.empty();
  return CurrentVersion() != 0 &&
         std::all_of(materials.begin(), materials.end(), [&](const auto& one) {
           return one.pending() || (!one.Expired(now) &&
                                    (one.lost || FindVersion(one.version) != nullptr));
         });
}

uint32_t KeyRecord::CurrentVersion() const {
  for (auto it = materials.rbegin(); it != materials.rend(); ++it)
    if (it->bound()) return it->version;
  return versions.empty() || origin == Origin::kExternal ? 0 : versions.back().version;
}

uint32_t KeyRecord::NextVersion() const {
  uint32_t last = lost_version;
  if (!versions.empty()) last = std::max(last, versions.back().version);
  if (!materials.empty()) last = std::max(last, materials.back().version);
  return last + 1;
}

const MaterialVersion* KeyRecord::FindVersion(uint32_t version) const {
  for (const MaterialVersion& one : versions)
    if (one.version == version) return &one;
  return nullptr;
}

const ImportedMaterial* KeyRecord::FindMaterial(uint32_t version) const {
  for (const ImportedMaterial& one : materials)
    if (one.version == version) return &one;
  return nullptr;
}

const ImportedMaterial* KeyRecord::FindPending() const {
  return !materials.empty() && materials.back().pending() ? &materials.back() : nullptr;
}

const ImportedMaterial* KeyRecord::FindExpired(TimePoint now) const {
  for (const ImportedMaterial& one : materials)
    if (one.Expired(now) && (one.lost || FindVersion(one.version) != nullptr))
      return &one;
  return nullptr;
}

void KeyRecord::PutVersion(MaterialVersion version) {
  std::erase_if(versions,
                [&](const auto& one) { return one.version == version.version; });
  versions.push_back(std::move(version));
  std::sort(versions.begin(), versions.end(),
            [](const auto& a, const auto& b) { return a.version < b.version; });
}

std::optional<TimePoint> KeyRecord::EarliestExpiry() const {
  std::optional<TimePoint> first;
  for (const ImportedMaterial& material : materials)
    if (!material.pending() && material.valid_to &&
        (!first || *material.valid_to < *first))
      first = material.valid_to;
  return first;
}

uint32_t KeyRecord::AddMaterial(ImportedMaterial material, TimePoint now) {
  if (const ImportedMaterial* pending = FindPending()) DropMaterial(pending->version);
  const uint32_t version = NextVersion();
  material.version = version;
  if (version > 1 && CurrentVersion() == 0) material.rotated = now;
  PlaceMaterial(std::move(material));
  return version;
}

void KeyRecord::PlaceMaterial(ImportedMaterial material) {
  const uint32_t version = material.version;
  if (const ImportedMaterial* pending = FindPending()) DropMaterial(pending->version);
  std::erase_if(versions, [&](const auto& one) { return one.version == version; });
  std::erase_if(materials, [&](const auto& one) { return one.version == version; });
  const auto behind =
      std::find_if(materials.begin(), materials.end(),
                   [&](const auto& one) { return one.version > version; });
  materials.insert(behind, std::move(material));
}

void KeyRecord::DropMaterial(uint32_t version) {
  std::erase_if(versions, [&](const auto& one) { return one.version == version; });
  std::erase_if(materials, [&](const auto& material) {
    return material.version == version && material.pending();
  });
  for (ImportedMaterial& material : materials)
    if (material.version == version) {
      material.valid_to.reset();
      material.lost = false;
    }
}

KeyState KeyRecord::StateAt(TimePoint now) const {
  if (deletion_date) return KeyState::kPendingDeletion;
  if (!HasMaterial(now)) return KeyState::kPendingImport;
  return enabled ? KeyState::kEnabled : KeyState::kDisabled;
}

int64_t Milliseconds(TimePoint time) { return time.time_since_epoch().count(); }

double WireTime(TimePoint time) {
  return static_cast<double>(Milliseconds(time)) / 1000;
}

namespace {

json ToJson(const ImportedMaterial& material) {
  json body = {{"version", material.version},
               {"identity", ToBase64(material.identity)},
               {"description", material.description}};
  PutTime(body, "validTo", material.valid_to);
  PutTime(body, "rotated", material.rotated);
  if (!material.id.empty()) body["id"] = material.id;
  if (material.lost) body["lost"] = true;
  return body;
}

ImportedMaterial MaterialOf(const json& body) {
  return {body.at("version").get<uint32_t>(), BytesOf(body.at("identity")),
          OptionalTime(body, "validTo"),      body.at("description").get<std::string>(),
          OptionalTime(body, "rotated"),      body.value("id", std::string()),
          body.value("lost", false)};
}

// IsPlain tells whether a Keyfold that knows of one imported material reads the row.
bool IsPlain(const KeyRecord& key) {
  if (key.lost_version != 0 || key.held) return false;
  if (key.materials.empty()) return true;
  const ImportedMaterial& first = key.materials.front();
  return key.materials.size() == 1 && first.version == 1 && !first.identity.empty() &&
         first.description.empty() && !first.lost;
}

// Rows of before a key could have several materials know of one.
std::vector<ImportedMaterial> MaterialsOf(const json& body) {
  std::vector<ImportedMaterial> materials;
  if (const auto list = body.find("materials"); list != body.end()) {
    for (const json& material : *list) materials.push_back(MaterialOf(material));
  } else if (Bytes identity = BytesOf(body.at("materialIdentity")); !identity.empty()) {
    materials.push_back(
        {1, std::move(identity), OptionalTime(body, "validTo"), {}, {}, {}, false});
  }
  return materials;
}

}  // namespace

json ToJson(const KeyRecord& key) {
  json body = {{"description", key.description},
               {"created", Milliseconds(key.created)},
               {"origin", OriginName(key.origin)},
               {"manager", ManagerName(key.manager)},
               {"enabled", key.enabled},
               {"pendingWindowDays", key.pending_window_days},
               {"tags", key.tags},
               {"policy", key.policy_text}};
  if (key.materials.empty()) {
    body["materialIdentity"] = "";
  } else if (IsPlain(key)) {
    body["materialIdentity"] = ToBase64(key.materials.front().identity);
    PutTime(body, "validTo", key.materials.front().valid_to);
  } else {
    for (const ImportedMaterial& material : key.materials)
      body["materials"].push_back(ToJson(material));
  }
  if (key.lost_version != 0) body["lostVersion"] = key.lost_version;
  if (key.held) body["held"] = true;
  // Rows of before there were other specs have none.
  if (key.spec != KeySpec::kSymmetricDefault) body["spec"] = TraitsOf(key.spec).name;
  if (key.rotation_period_days) body["rotationPeriodDays"] = *key.rotation_period_days;
  PutTime(body, "deletionDate", key.deletion_date);
  PutTime(body, "nextRotation", key.next_rotation);
  return body;
}

int KeyStoreFormatOf(const KeyRecord& key) {
  return IsPlain(key) ? kOldestKeyStoreFormat : kNewestKeyStoreFormat;
}

json ToJson(const MaterialVersion& version) {
  return {{"version", version.version},
          {"created", Milliseconds(version.created)},
          {"sealed", ToBase64(version.sealed)},
          {"rotation", version.rotation}};
}

json ToJson(const AliasRecord& alias) {
  return {{"target", alias.target},
          {"created", Milliseconds(alias.created)},
          {"updated", Milliseconds(alias.updated)}};
}

json ToJson(const GrantRecord& record) {
  const policy::Grant& grant = record.grant;
  return {{"keyId", record.key_id},
          {"issuingAccount", record.issuing_account},
          {"created", Milliseconds(record.created)},
          {"name", grant.name},
          {"grantee", grant.grantee},
          {"retiringPrincipal", grant.retiring_principal},
          {"operations", grant.operations},
          {"contextEquals", grant.context_equals},
          {"contextSubset", grant.context_subset}};
}

json ToJson(const ImportRecord& import) {
  return {{"keyId", import.key_id},
          {"algorithm", import.algorithm},
          {"expires", Milliseconds(import.expires)},
          {"privateKey", ToBase64(import.sealed_private_key)}};
}

Result<KeyRecord> ParseKey(const std::string& id, const json& body,
                           const std::string& account) {
  auto parsed = Guarded(id, [&] {
    KeyRecord key;
    key.id = id;
    key.description = body.at("description").get<std::string>();
    key.created = TimeOf(body.at("created"));
    key.origin = body.at("origin") == "EXTERNAL" ? Origin::kExternal : Origin::kAwsKms;
    key.manager =
        body.at("manager") == "AWS" ? KeyManager::kAws : KeyManager::kCustomer;
    key.enabled = body.at("enabled").get<bool>();
    key.pending_window_days = body.at("pendingWindowDays").get<unsigned>();
    key.tags = body.at("tags").get<std::map<std::string, std::string>>();
    key.policy_text = body.at("policy").get<std::string>();
    key.materials = MaterialsOf(body);
    key.lost_version = body.value("lostVersion", uint32_t{0});
    key.held = body.value("held", false);
    if (body.contains("spec")) key.spec = SpecOf(body.at("spec"));
    if (body.contains("rotationPeriodDays"))
      key.rotation_period_days = body.at("rotationPeriodDays").get<unsigned>();
    key.deletion_date = OptionalTime(body, "deletionDate");
    key.next_rotation = OptionalTime(body, "nextRotation");
    return key;
  });
  if (!parsed.ok()) return parsed;
  KF_ASSIGN_OR_RETURN(parsed->policy, policy::ParsePolicy(parsed->policy_text,
                                                          "policy of " + id, account));
  return parsed;
}

Result<MaterialVersion> ParseVersion(const json& body) {
  return Guarded("key version", [&] {
    MaterialVersion version;
    version.version = body.at("version").get<uint32_t>();
    version.created = TimeOf(body.at("created"));
    version.sealed = BytesOf(body.at("sealed"));
    version.rotation = body.at("rotation").get<std::string>();
    return version;
  });
}

Result<AliasRecord> ParseAlias(const std::string& name, const json& body) {
  return Guarded(name, [&] {
    return AliasRecord{name, body.at("target").get<std::string>(),
                       TimeOf(body.at("created")), TimeOf(body.at("updated"))};
  });
}

Result<GrantRecord> ParseGrant(const std::string& id, const json& body) {
  using StringMap = std::map<std::string, std::string>;
  return Guarded(id, [&] {
    GrantRecord record;
    record.key_id = body.at("keyId").get<std::string>();
    record.issuing_account = body.at("issuingAccount").get<std::string>();
    record.created = TimeOf(body.at("created"));
    policy::Grant& grant = record.grant;
    grant.id = id;
    grant.name = body.at("name").get<std::string>();
    grant.grantee = body.at("grantee").get<std::string>();
    grant.retiring_principal = body.at("retiringPrincipal").get<std::string>();
    grant.operations = body.at("operations").get<std::set<std::string>>();
    grant.context_equals = body.at("contextEquals").get<StringMap>();
    grant.context_subset = body.at("contextSubset").get<StringMap>();
    return record;
  });
}

Result<ImportRecord> ParseImport(const std::string& id, const json& body) {
  return Guarded(id, [&] {
    return ImportRecord{id, body.at("keyId").get<std::string>(),
                        body.at("algorithm").get<std::string>(),
                        TimeOf(body.at("expires")), BytesOf(body.at("privateKey"))};
  });
}

json ToJson(const AccessKeyRecord& key) {
  return {{"user", key.user},
          {"uid", key.uid},
          {"active", key.active},
          {"created", Milliseconds(key.created)},
          {"secret", ToBase64(key.sealed_secret)}};
}

Result<AccessKeyRecord> ParseAccessKey(const std::string& id, const json& body) {
  return Guarded(id, [&] {
    return AccessKeyRecord{id,
                           body.at("user").get<std::string>(),
                           body.at("uid").get<uid_t>(),
                           body.at("active").get<bool>(),
                           TimeOf(body.at("created")),
                           BytesOf(body.at("secret"))};
  });
}

Result<Bytes> ParseNote(const json& body) {
  return Guarded("note", [&] { return BytesOf(body.at("value")); });
}

json ToJson(const DigestKeyRecord& key) {
  return {{"created", Milliseconds(key.created)},
          {"publicKey", ToBase64(key.public_key)},
          {"sealed", ToBase64(key.sealed_seed)}};
}

Result<DigestKeyRecord> ParseDigestKey(const json& body) {
  return Guarded("audit-digest-key", [&] {
    return DigestKeyRecord{TimeOf(body.at("created")), BytesOf(body.at("publicKey")),
                           BytesOf(body.at("sealed"))};
  });
}

json ToJson(const Activity& activity) {
  json body = {{"since", Milliseconds(activity.since)},
               {"grants", json::object()},
               {"files", json::object()}};
  for (const auto& [id, time] : activity.grants)
    body["grants"][id] = Milliseconds(time);
  for (const auto& [id, time] : activity.files) body["files"][id] = Milliseconds(time);
  return body;
}

Result<Activity> ParseActivity(const json& body) {
  return Guarded("activity", [&] {
    Activity activity;
    activity.since = TimeOf(body.at("since"));
    for (const auto& [id, time] : body.at("grants").items())
      activity.grants[id] = TimeOf(time);
    for (const auto& [id, time] : body.at("files").items())
      activity.files[id] = TimeOf(time);
    return activity;
  });
}

}  // namespace keyfold
