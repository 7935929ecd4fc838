#include "kms/service/Replay.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "kms/base/IsoTime.h"
#include "kms/service/Material.h"
#include "kms/service/Recorder.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

// What a change came to.
enum class Outcome {
  kDone,     // made again
  kOpen,     // cannot be
  kNothing,  // of no consequence to the restored store
};

const json& Member(const json& record, const char* part, const char* name) {
  static const json kNone;
  const auto object = record.find(part);
  if (object == record.end() || !object->is_object()) return kNone;
  const auto it = object->find(name);
  return it == object->end() ? kNone : *it;
}

std::string Text(const json& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::string KeyIdOf(const json& record) {
  const auto resources = record.find("resources");
  if (resources == record.end() || !resources->is_array()) return {};
  for (const json& resource : *resources) {
    const std::string arn = resource.value("ARN", std::string());
    if (const size_t at = arn.find(":key/"); at != std::string::npos)
      return arn.substr(at + 5);
  }
  return {};
}

TimePoint RecordedTime(const json& record) {
  const auto time =
      ParseIso8601(record.value("eventTime", std::string()), TimeZone::kRequired);
  return time ? std::chrono::floor<TimePoint::duration>(*time) : TimePoint();
}

std::optional<TimePoint> TimeFrom(const json& seconds) {
  if (!seconds.is_number()) return std::nullopt;
  return TimePoint(
      std::chrono::milliseconds(std::llround(seconds.get<double>() * 1000)));
}

// Unsure are the keys whose policy, or whether they wait for deletion, the log does not
// tell: they are disabled whatever else it tells. And those with imports or rotations
// of before records told the numbers of versions.
struct Unsure {
  std::set<std::string> policy, deletion, numbers;
};

// Change is one record, and the key it is about if the restored store has it; `backup`
// is that key before any change.
struct Event {
  const json& record;
  const Account& account;
  Transaction& transaction;
  std::shared_ptr<const KeyRecord> key, backup;
  Unsure& unsure;
  const char* advice = "";  // what somebody has to do about it

  const json& Parameter(const char* name) const {
    return Member(record, "requestParameters", name);
  }
  Outcome Open(const char* what) {
    advice = what;
    return Outcome::kOpen;
  }
  template <typename Edit>
  Outcome EditKey(Edit&& edit) {
    if (!key) return Outcome::kNothing;
    KeyRecord changed = *key;
    edit(changed);
    transaction.PutKey(std::move(changed));
    return Outcome::kDone;
  }
};

Outcome Disable(Event& event) {
  return event.EditKey([](KeyRecord& key) { key.enabled = false; });
}

Outcome Enable(Event& event) {
  return event.EditKey([](KeyRecord& key) {
    key.enabled = true;
    key.held = false;
  });
}

Outcome ScheduleDeletion(Event& event) {
  const json& date = Member(event.record, "responseElements", "deletionDate");
  const json& window = Member(event.record, "responseElements", "pendingWindowInDays");
  const auto due = TimeFrom(date);
  if (!due || !window.is_number_unsigned()) {
    if (event.key) event.unsure.deletion.insert(event.key->id);
    return event.Open("the key is disabled instead; schedule its deletion again");
  }
  return event.EditKey([&](KeyRecord& key) {
    key.deletion_date = due;
    key.pending_window_days = window.get<unsigned>();
  });
}

Outcome CancelDeletion(Event& event) {
  if (event.key) event.unsure.deletion.erase(event.key->id);
  return event.EditKey([](KeyRecord& key) {
    key.deletion_date.reset();
    key.pending_window_days = 0;
    key.enabled = false;
  });
}

Outcome Destroy(Event& event) {
  if (!event.key) return Outcome::kNothing;
  event.transaction.RemoveKey(event.key->id);
  return Outcome::kDone;
}

// MaterialsOf are the versions of the imported material that the record is about.
// Records of before a key could have several name none: they are about the one it has.
std::vector<uint32_t> MaterialsOf(const KeyRecord& key, const std::string& id) {
  std::vector<uint32_t> versions;
  for (const ImportedMaterial& material : key.materials)
    if (id.empty() ? key.materials.size() == 1 : id == MaterialTag(key, material))
      versions.push_back(material.version);
  return versions;
}

std::string MaterialIdIn(const json& record) {
  const std::string id = Text(Member(record, "responseElements", "keyMaterialId"));
  return id.empty() ? Text(Member(record, "additionalEventData", "keyMaterialId")) : id;
}

Outcome DeleteMaterial(Event& event) {
  if (!event.key) return Outcome::kNothing;
  const auto doomed = MaterialsOf(*event.key, MaterialIdIn(event.record));
  if (doomed.empty()) return Outcome::kNothing;
  return event.EditKey([&](KeyRecord& key) {
    for (uint32_t version : doomed) key.DropMaterial(version);
  });
}

Outcome RevokeGrants(Event& event) {
  constexpr std::string_view kTokenPrefix = "kfg1-";
  std::string id = Text(event.Parameter("grantId"));
  const std::string token = Text(event.Parameter("grantToken"));
  if (token.starts_with(kTokenPrefix)) id = token.substr(kTokenPrefix.size());
  if (!event.transaction.next().FindGrant(id)) return Outcome::kNothing;
  event.transaction.RemoveGrant(id);
  return Outcome::kDone;
}

Outcome RemoveAlias(Event& event) {
  const std::string name = Text(event.Parameter("aliasName"));
  if (!event.transaction.next().aliases.contains(name)) return Outcome::kNothing;
  event.transaction.RemoveAlias(name);
  return Outcome::kDone;
}

// A policy that was too long for its record is not known any more, and the one in the
// backup may give what was taken away since.
Outcome ChangePolicy(Event& event) {
  if (!event.key) return Outcome::kNothing;
  const std::string text = Text(event.Parameter("policy"));
  auto policy = policy::ParsePolicy(text, "the audit log", event.account.id);
  if (text.empty() || !policy.ok()) {
    event.unsure.policy.insert(event.key->id);
    return event.Open("the key is disabled; put its policy again, then enable it");
  }
  event.unsure.policy.erase(event.key->id);
  return event.EditKey([&](KeyRecord& key) {
    key.policy_text = text;
    key.policy = *std::move(policy);
  });
}

Outcome ChangeIam(Event& event) {
  const std::string text = Text(event.Parameter("document"));
  auto iam = policy::ParseIam(text, "the audit log", event.account.id);
  if (text.empty() || !iam.ok())
    return event.Open("an earlier iam.yaml is in force; apply yours before you mount");
  event.transaction.PutIam(text, *std::move(iam), event.account.id);
  return Outcome::kDone;
}

Outcome FormerRootKey(Event& event) {
  return event.Open("the root key of before may be in force again; rotate it");
}

Outcome KeepNote(Event& event) {
  auto value = FromBase64(Text(event.Parameter("value")));
  if (!value) return Outcome::kNothing;
  event.transaction.PutNote(Text(event.Parameter("name")), *std::move(value));
  return Outcome::kDone;
}

Outcome UpdateAccessKey(Event& event) {
  const auto& keys = event.transaction.next().access_keys;
  const auto it = keys.find(Text(event.Parameter("accessKeyId")));
  if (it == keys.end()) return Outcome::kNothing;
  AccessKeyRecord key = it->second;
  key.active = Text(event.Parameter("status")) == "Active";
  event.transaction.PutAccessKey(std::move(key));
  return Outcome::kDone;
}

Outcome DeleteAccessKey(Event& event) {
  const std::string id = Text(event.Parameter("accessKeyId"));
  if (!event.transaction.next().access_keys.contains(id)) return Outcome::kNothing;
  event.transaction.RemoveAccessKey(id);
  return Outcome::kDone;
}

Outcome Release(Event& event) {
  const auto released = ReleasedIn(event.record);
  if (!released) return Outcome::kNothing;
  event.transaction.PutReleased(*released);
  return Outcome::kDone;
}

// VersionIn is the number of the version that an import or a rotation was about. An
// older log has none, and it is found by how keys give numbers, which can be wrong
// behind a restore that the log does not show.
std::optional<uint32_t> VersionIn(Event& event) {
  const auto number = SequenceIn(event.record, kKeyMaterialVersion);
  if (number && *number > 0 && *number < std::numeric_limits<uint32_t>::max())
    return static_cast<uint32_t>(*number);
  event.unsure.numbers.insert(event.key->id);
  return std::nullopt;
}

Outcome LoseKey(Event& event) {
  return event.Open("the key is lost, and so is what was encrypted under it");
}

Outcome LoseVersion(Event& event) {
  if (!event.key) return Outcome::kNothing;  // it is lost wholly
  const auto number = VersionIn(event);
  (void)event.EditKey([&](KeyRecord& key) {
    key.lost_version = std::max(key.lost_version, number.value_or(key.NextVersion()));
  });
  return event.Open(
      "this version of the key is lost, and so is what was encrypted "
      "under it");
}

// WasBound tells whether the key was bound to material when the record was made: what
// is lost now was there then.
bool WasBound(const KeyRecord& key) {
  return std::any_of(key.materials.begin(), key.materials.end(),
                     [](const auto& one) { return !one.pending(); });
}

bool Tells(const json& record, const char* name) {
  return Member(record, "additionalEventData", name) == json(true);
}

// IsUnder tells whether the key has material of this id, under this number if it is
// known.
bool IsUnder(const KeyRecord& key, const std::string& id,
             std::optional<uint32_t> number) {
  const auto versions = MaterialsOf(key, id);
  return !versions.empty() && (!number || versions.front() == *number);
}

// PlaceLost gives lost material of this id the number it had, or must have had.
void PlaceLost(Event& event, KeyRecord& key, const std::string& id,
               std::optional<uint32_t> number) {
  ImportedMaterial lost;
  lost.id = id;
  lost.lost = true;
  const ImportedMaterial* pending = key.FindPending();
  lost.version = number               ? *number
                 : pending != nullptr ? pending->version
                                      : key.NextVersion();
  if (!number && lost.version > 1 && !WasBound(key))
    lost.rotated = RecordedTime(event.record);
  // Under another number it was put by an older record.
  for (uint32_t other : MaterialsOf(key, id)) {
    std::erase_if(key.versions, [&](const auto& one) { return one.version == other; });
    std::erase_if(key.materials, [&](const auto& one) { return one.version == other; });
  }
  key.PlaceMaterial(std::move(lost));
}

// TakeFromBackup puts the bytes of one material back that were deleted since, if those
// in the backup are of the same material under the same number.
void TakeFromBackup(const KeyRecord& backup, KeyRecord& key,
                    ImportedMaterial& material) {
  const MaterialVersion* kept = backup.FindVersion(material.version);
  const ImportedMaterial* known = backup.FindMaterial(material.version);
  if (kept == nullptr || known == nullptr ||
      MaterialTag(backup, *known) != MaterialTag(key, material))
    return;
  material.identity = known->identity;
  material.id.clear();
  material.lost = false;
  key.PutVersion(*kept);
}

// An import that the restored store knows nothing of leaves the number of its material
// behind, and by what to know that again. Whether it enabled the key is in no record of
// before there were numbers: then the key stays as it is.
Outcome ImportMaterial(Event& event) {
  if (!event.key) return Outcome::kNothing;
  const std::string id = MaterialIdIn(event.record);
  const auto number = VersionIn(event);
  bool there = false;
  const Outcome outcome = event.EditKey([&](KeyRecord& key) {
    if (Tells(event.record, kKeyEnabled)) key.enabled = true;
    if (!id.empty() && !IsUnder(key, id, number)) PlaceLost(event, key, id, number);
    const auto versions = MaterialsOf(key, id);
    for (ImportedMaterial& material : key.materials) {
      if (versions != std::vector<uint32_t>{material.version}) continue;
      if (key.FindVersion(material.version) == nullptr)
        TakeFromBackup(*event.backup, key, material);
      there = key.FindVersion(material.version) != nullptr;
      material.lost = !there;
      // Also what had only waited before a restore forgot it.
      if (Tells(event.record, kCurrentAtOnce) && material.pending())
        material.rotated = RecordedTime(event.record);
      material.valid_to = TimeFrom(event.Parameter("validTo"));
      if (const auto& text = event.Parameter("keyMaterialDescription");
          text.is_string())
        material.description = text.get<std::string>();
    }
  });
  return there ? outcome : event.Open("import the material again");
}

Outcome RotateOnDemand(Event& event) {
  if (!event.key) return LoseVersion(event);
  const auto number = VersionIn(event);
  const ImportedMaterial* used =
      number ? event.key->FindMaterial(*number) : event.key->FindPending();
  if (used == nullptr) return LoseVersion(event);
  const Outcome outcome = event.EditKey([&](KeyRecord& key) {
    for (ImportedMaterial& material : key.materials)
      if (material.version == used->version && material.pending())
        material.rotated = RecordedTime(event.record);
  });
  if (!used->lost) return outcome;
  return event.Open(
      "the material that the key was rotated to is lost, and so is what was encrypted "
      "under it, until it is imported again");
}

Outcome Ignore(Event&) { return Outcome::kNothing; }
Outcome DoAgain(Event& event) {
  return event.Open("do it again if it is still wanted");
}

struct ReplayRule {
  std::string_view event;
  Outcome (*run)(Event&);
};
constexpr ReplayRule kReplayRules[] = {
    {"DisableKey", Disable},
    {"EnableKey", Enable},
    {"ScheduleKeyDeletion", ScheduleDeletion},
    {"CancelKeyDeletion", CancelDeletion},
    {"DeleteKey", Destroy},
    {"DeleteImportedKeyMaterial", DeleteMaterial},
    {"DeleteExpiredKeyMaterial", DeleteMaterial},
    {"RevokeGrant", RevokeGrants},
    {"RetireGrant", RevokeGrants},
    {"DeleteAlias", RemoveAlias},
    {"PutKeyPolicy", ChangePolicy},
    {"ApplyIam", ChangeIam},
    {"UpdateAccessKey", UpdateAccessKey},
    {"DeleteAccessKey", DeleteAccessKey},
    {"CreateKey", LoseKey},
    {"RotateKey", LoseVersion},
    {"RotateKeyOnDemand", RotateOnDemand},
    {"ImportKeyMaterial", ImportMaterial},
    {"GetParametersForImport", Ignore},
    {"RestoreKeyStore", Ignore},
    {"RotateRootKey", FormerRootKey},
    {"ChangeRootKeyProvider", Ignore},
    {"UpgradeStore", Ignore},
    {"SealStore", Ignore},
    {"KeepNote", KeepNote},
    {"CloseStore", Ignore},
    {"SignDigest", Ignore},
    {"ComplianceChanged", Ignore},
    {"CreateDigestKey", Ignore},
    {"ReleaseLog", Release},
};

Outcome Run(Event& event, const std::string& name) {
  for (const ReplayRule& rule : kReplayRules)
    if (rule.event == name) return rule.run(event);
  return DoAgain(event);
}

// ForgetPending lets go of what is pending rotation and is not there: no key is bound
// to it, and nothing was encrypted under it. If the log told no numbers that is not
// sure, and its number stays away.
void ForgetPending(Transaction& transaction, const std::set<std::string>& unsure) {
  const auto keys = transaction.next().keys;
  for (const auto& [id, key] : keys)
    if (const ImportedMaterial* pending = key->FindPending();
        pending != nullptr && key->FindVersion(pending->version) == nullptr) {
      KeyRecord without = *key;
      without.DropMaterial(pending->version);
      if (unsure.contains(id))
        without.lost_version = std::max(without.lost_version, pending->version);
      transaction.PutKey(std::move(without));
    }
}

// "2026-01-31T12:00:00Z DisableKey by cfo, key 1234abcd-..."
std::string Line(const json& record, const std::string& key_id) {
  std::string line = record.value("eventTime", std::string()) + " " +
                     record.value("eventName", std::string());
  const std::string who = Text(Member(record, "userIdentity", "userName"));
  if (!who.empty()) line += " by " + who;
  if (!key_id.empty()) line += ", key " + key_id;
  return line;
}

// Successful are the changes that were committed, in order: a commit that failed has
// a later record that says so.
std::vector<const json*> Successful(const std::vector<json>& records) {
  std::vector<std::pair<uint64_t, const json*>> changes;
  for (const json& record : records) {
    const auto failed = SequenceIn(record, kKeyStoreSequenceFailed);
    const auto sequence = SequenceIn(record, kKeyStoreSequence);
    // A number is given again only if who had it before did not come to be.
    const auto none = failed ? failed : sequence;
    if (none && !changes.empty() && changes.back().first == *none) changes.pop_back();
    if (!failed && sequence) changes.emplace_back(*sequence, &record);
  }
  std::vector<const json*> out;
  for (const auto& [sequence, record] : changes) out.push_back(record);
  return out;
}

}  // namespace

std::optional<AuditHead> ReleasedIn(const json& record) {
  if (record.value("eventName", std::string()) != "ReleaseLog") return std::nullopt;
  const json& sequence = Member(record, "responseElements", "releasedSequence");
  const std::string hash = Text(Member(record, "responseElements", "releasedHash"));
  if (!sequence.is_number_unsigned() || hash.empty()) return std::nullopt;
  return AuditHead{sequence.get<uint64_t>(), hash};
}

uint64_t LastCommit(const std::vector<json>& records, uint64_t otherwise) {
  uint64_t last = otherwise;
  for (const json& record : records)
    last = std::max(last, SequenceIn(record, kKeyStoreSequence).value_or(0));
  return last;
}

Replayed ReplayChanges(const std::vector<json>& records, const Account& account,
                       Transaction& transaction) {
  Replayed out;
  Unsure unsure;
  const State backup = transaction.next();
  for (const json* record : Successful(records)) {
    const std::string key_id = KeyIdOf(*record);
    Event event{*record,
                account,
                transaction,
                transaction.next().FindKey(key_id),
                backup.FindKey(key_id),
                unsure};
    const Outcome outcome = Run(event, record->value("eventName", std::string()));
    const std::string line = Line(*record, key_id);
    if (outcome == Outcome::kDone) out.done.push_back(line);
    if (outcome == Outcome::kOpen) out.open.push_back(line + ": " + event.advice);
  }
  ForgetPending(transaction, unsure.numbers);
  unsure.policy.merge(unsure.deletion);
  for (const std::string& id : unsure.policy)
    if (const auto key = transaction.next().FindKey(id)) {
      KeyRecord disabled = *key;
      disabled.enabled = false;
      disabled.held = true;
      transaction.PutKey(std::move(disabled));
    }
  return out;
}

}  // namespace keyfold
