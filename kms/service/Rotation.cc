// Rotation of keys' material: by itself, and on demand.
#include <algorithm>

#include "kms/service/Operations.h"
#include "kms/service/Recorder.h"

namespace keyfold {
namespace {

using nlohmann::json;
using std::chrono::days;

constexpr int64_t kDefaultPeriod = 365;
constexpr long kMostOnDemand = 25;  // AWS's quota for one key
constexpr char kOnDemand[] = "ON_DEMAND";

Status CheckQuota(const KeyRecord& key) {
  const long imported =
      std::count_if(key.materials.begin(), key.materials.end(),
                    [](const auto& material) { return material.rotated.has_value(); });
  const long made =
      std::count_if(key.versions.begin(), key.versions.end(),
                    [](const auto& version) { return version.rotation == kOnDemand; });
  if (imported + made < kMostOnDemand) return OkStatus();
  return {Error::kLimitExceeded, "The key was rotated on demand 25 times already."};
}

// UsePending makes the pending material current.
Status UsePending(KeyRecord& key, TimePoint now) {
  const ImportedMaterial* pending = key.FindPending();
  if (pending == nullptr || pending->Expired(now))
    return {Error::kInvalidState,
            "No key material of the key is pending rotation. Import some with "
            "ImportType NEW_KEY_MATERIAL."};
  key.materials.back().rotated = now;
  return OkStatus();
}

json Describe(const KeyRecord& key, uint32_t version, bool pending) {
  return {{"KeyId", key.id},
          {"KeyMaterialId", MaterialId(key, version)},
          {"KeyMaterialState", pending                           ? "PENDING_ROTATION"
                               : version == key.CurrentVersion() ? "CURRENT"
                                                                 : "NON_CURRENT"}};
}

json DescribeImported(const KeyRecord& key, const ImportedMaterial& material,
                      TimePoint now) {
  json entry = Describe(key, material.version, material.pending());
  const bool there =
      key.FindVersion(material.version) != nullptr && !material.Expired(now);
  entry["ImportState"] = there ? "IMPORTED" : "PENDING_IMPORT";
  if (!material.description.empty())
    entry["KeyMaterialDescription"] = material.description;
  if (there || material.lost) {  // what is lost expires too
    entry["ExpirationModel"] =
        material.valid_to ? "KEY_MATERIAL_EXPIRES" : "KEY_MATERIAL_DOES_NOT_EXPIRE";
    if (material.valid_to) entry["ValidTo"] = WireTime(*material.valid_to);
  }
  if (material.rotated) {
    entry["RotationDate"] = WireTime(*material.rotated);
    entry["RotationType"] = kOnDemand;
  }
  return entry;
}

json DescribeMade(const KeyRecord& key, const MaterialVersion& version) {
  json entry = Describe(key, version.version, false);
  if (!version.rotation.empty()) {
    entry["RotationDate"] = WireTime(version.created);
    entry["RotationType"] = version.rotation;
  }
  return entry;
}

}  // namespace

void AddVersion(const RootSecrets& secrets, KeyRecord& key, const char* rotation,
                TimePoint now) {
  MaterialVersion version;
  version.version = key.NextVersion();
  version.created = now;
  version.rotation = rotation;
  version.sealed =
      SealMaterial(secrets, key, version.version,
                   CmkMaterial(RandomSecret(TraitsOf(key.spec).material_size)));
  key.versions.push_back(std::move(version));
}

Answer EnableKeyRotation(Invocation& call) {
  const int64_t period =
      call.parameters.Integer("RotationPeriodInDays").value_or(kDefaultPeriod);
  KeyRecord key = *call.key;
  key.rotation_period_days = static_cast<unsigned>(period);
  key.next_rotation = call.now + days(period);
  call.Change().PutKey(std::move(key));
  return json::object();
}

Answer DisableKeyRotation(Invocation& call) {
  KeyRecord key = *call.key;
  key.rotation_period_days.reset();
  key.next_rotation.reset();
  call.Change().PutKey(std::move(key));
  return json::object();
}

Answer GetKeyRotationStatus(Invocation& call) {
  const KeyRecord& key = *call.key;
  json answer = {{"KeyRotationEnabled", key.rotation_period_days.has_value()},
                 {"KeyId", KeyArn(call.account, key.id)}};
  if (key.rotation_period_days)
    answer["RotationPeriodInDays"] = *key.rotation_period_days;
  if (key.next_rotation) answer["NextRotationDate"] = WireTime(*key.next_rotation);
  return answer;
}

Answer ListKeyRotations(Invocation& call) {
  const KeyRecord& key = *call.key;
  std::vector<json> items;
  if (key.usage() == KeyUsage::kEncryptDecrypt) {
    for (const ImportedMaterial& material : key.materials)
      items.push_back(DescribeImported(key, material, call.now));
    if (key.origin == Origin::kAwsKms)
      for (const MaterialVersion& version : key.versions)
        items.push_back(DescribeMade(key, version));
  } else if (call.parameters.Has("IncludeKeyMaterial")) {
    return Status(Error::kUnsupportedOperation,
                  "IncludeKeyMaterial is for keys that can be rotated.");
  }
  if (call.parameters.String("IncludeKeyMaterial") != "ALL_KEY_MATERIAL")
    std::erase_if(items,
                  [](const json& entry) { return !entry.contains("RotationDate"); });
  KF_ASSIGN_OR_RETURN(const PageRequest page,
                      RequestedPage(call.parameters, items.size(), 100));
  return Page("Rotations", std::move(items), page.from, page.limit);
}

Answer RotateKeyOnDemand(Invocation& call) {
  KeyRecord key = *call.key;
  KF_RETURN_IF_ERROR(CheckQuota(key));
  if (key.origin == Origin::kExternal) {
    KF_RETURN_IF_ERROR(UsePending(key, call.now));
  } else {
    KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
    AddVersion(*secrets, key, kOnDemand, call.now);
  }
  call.event_data[kKeyMaterialVersion] = key.CurrentVersion();
  call.Change().PutKey(std::move(key));
  return json{{"KeyId", KeyArn(call.account, call.key->id)}};
}

}  // namespace keyfold
