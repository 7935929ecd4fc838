// States of keys, their deletion, and rotation of their material.
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;
using std::chrono::days;

constexpr int64_t kDefaultWindow = 30;
constexpr int64_t kDefaultPeriod = 365;

json SetEnabled(Invocation& call, bool enabled) {
  KeyRecord key = *call.key;
  key.enabled = enabled;
  call.Change().PutKey(std::move(key));
  return json::object();
}

}  // namespace

void AddVersion(const RootSecrets& secrets, KeyRecord& key, const char* rotation,
                TimePoint now) {
  MaterialVersion version;
  version.version = key.versions.empty() ? 1 : key.versions.back().version + 1;
  version.created = now;
  version.rotation = rotation;
  version.sealed =
      SealMaterial(secrets, key, version.version,
                   CmkMaterial(RandomSecret(TraitsOf(key.spec).material_size)));
  key.versions.push_back(std::move(version));
}

Answer EnableKey(Invocation& call) { return SetEnabled(call, true); }
Answer DisableKey(Invocation& call) { return SetEnabled(call, false); }

Answer ScheduleKeyDeletion(Invocation& call) {
  const int64_t window =
      call.parameters.Integer("PendingWindowInDays").value_or(kDefaultWindow);
  KeyRecord key = *call.key;
  key.deletion_date = call.now + days(window);
  key.pending_window_days = static_cast<unsigned>(window);
  json answer = {{"KeyId", KeyArn(call.account, key.id)},
                 {"DeletionDate", WireTime(*key.deletion_date)},
                 {"KeyState", StateName(KeyState::kPendingDeletion)},
                 {"PendingWindowInDays", window}};
  call.Change().PutKey(std::move(key));
  return answer;
}

Answer CancelKeyDeletion(Invocation& call) {
  KeyRecord key = *call.key;
  key.deletion_date.reset();
  key.pending_window_days = 0;
  key.enabled = false;
  call.Change().PutKey(std::move(key));
  return json{{"KeyId", KeyArn(call.account, call.key->id)}};
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
  std::vector<json> items;
  for (const MaterialVersion& version : call.key->versions)
    if (!version.rotation.empty())
      items.push_back({{"KeyId", call.key->id},
                       {"RotationDate", WireTime(version.created)},
                       {"RotationType", version.rotation}});
  KF_ASSIGN_OR_RETURN(const PageRequest page,
                      RequestedPage(call.parameters, items.size(), 100));
  return Page("Rotations", std::move(items), page.from, page.limit);
}

Answer RotateKeyOnDemand(Invocation& call) {
  KeyRecord key = *call.key;
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  AddVersion(*secrets, key, "ON_DEMAND", call.now);
  call.Change().PutKey(std::move(key));
  return json{{"KeyId", KeyArn(call.account, call.key->id)}};
}

}  // namespace keyfold
