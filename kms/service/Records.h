// Records: what the key store's rows mean, and their JSON form.
//
// Owns: members and states of keys, aliases, grants and import parameters.
// Must not know: who may, how rows are authenticated. Plain values.
#pragma once

#include <sys/types.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kms/base/Bytes.h"
#include "kms/base/Clock.h"
#include "kms/base/Status.h"
#include "kms/service/KeySpec.h"
#include "policy/model/Model.h"

namespace keyfold {

enum class Origin { kAwsKms, kExternal };
enum class KeyManager { kCustomer, kAws };
enum class KeyState { kEnabled, kDisabled, kPendingImport, kPendingDeletion };

// The AWS names: "EXTERNAL", "CUSTOMER", "PendingDeletion".
std::string_view OriginName(Origin origin);
std::string_view ManagerName(KeyManager manager);
std::string_view StateName(KeyState state);

// MaterialVersion is one version of a CMK's material, sealed under the root key.
struct MaterialVersion {
  uint32_t version = 0;  // from 1
  TimePoint created;
  Bytes sealed;
  std::string rotation;  // "AUTOMATIC", "ON_DEMAND"; empty for the first, or imported
};

// ImportedMaterial is what is known of one version of an EXTERNAL key's material,
// also while it is not there: what tells whether other material is the same, and when
// it expires.
struct ImportedMaterial {
  uint32_t version = 0;
  Bytes identity;
  std::optional<TimePoint> valid_to;
  std::string description;
  std::optional<TimePoint> rotated;  // when it became current; not for the first
  // The KeyMaterialId, while the identity is empty: of material that was imported after
  // the backup which the key store comes from (Replay.h).
  std::string id;
  // Such material is lost until it is imported again. The key does without it, unless
  // it was deleted or expires: that takes the key's use away, there or not.
  bool lost = false;

  // Pending material waits for RotateKeyOnDemand.
  bool pending() const { return version > 1 && !rotated; }
  // The key is bound to material that must be there for it to be used.
  bool bound() const { return !pending() && !lost; }
  bool Expired(TimePoint now) const { return valid_to && *valid_to <= now; }
};

struct KeyRecord {
  std::string id;  // UUID
  std::string description;
  TimePoint created;
  Origin origin = Origin::kAwsKms;
  KeySpec spec = KeySpec::kSymmetricDefault;
  KeyManager manager = KeyManager::kCustomer;
  bool enabled = true;
  std::optional<TimePoint> deletion_date;
  unsigned pending_window_days = 0;
  std::map<std::string, std::string> tags;
  std::string policy_text;                       // as it was given
  policy::Document policy;                       // parsed from it
  std::optional<unsigned> rotation_period_days;  // automatic rotation is on
  std::optional<TimePoint> next_rotation;
  std::vector<ImportedMaterial> materials;  // ascending; of EXTERNAL keys alone
  std::vector<MaterialVersion> versions;    // ascending; those whose material is there
  // Ciphertexts name versions, so no number is given twice: numbers up to this one were
  // given to material that a restore lost. 0 if none were.
  uint32_t lost_version = 0;
  // A restore disabled it, as it is not sure who may use it: no import enables it.
  bool held = false;

  KeyUsage usage() const { return TraitsOf(spec).usage; }
  // HasMaterial tells whether all material is there that the key is bound to.
  bool HasMaterial(TimePoint now) const;
  // CurrentVersion is the number of the one that encrypts, there or not; 0 if the key
  // is bound to none.
  uint32_t CurrentVersion() const;
  // NextVersion is a number that no material which was ever used had.
  uint32_t NextVersion() const;
  // FindVersion is null when its material is not there.
  const MaterialVersion* FindVersion(uint32_t version) const;
  // FindMaterial is null for versions that were not imported.
  const ImportedMaterial* FindMaterial(uint32_t version) const;
  // FindPending is null when nothing is pending rotation.
  const ImportedMaterial* FindPending() const;
  // FindExpired is one that is there, or that the key does without, and should not be;
  // null when there is none.
  const ImportedMaterial* FindExpired(TimePoint now) const;
  // EarliestExpiry is when the first of the materials that the key is bound to expires.
  std::optional<TimePoint> EarliestExpiry() const;
  // PutVersion adds one, or replaces that of the same number.
  void PutVersion(MaterialVersion version);
  // AddMaterial gives the material the next number, and the place of what is pending.
  // It is current from `now` on if the key is bound to none, else it is pending.
  uint32_t AddMaterial(ImportedMaterial material, TimePoint now);
  // PlaceMaterial puts it under the number it has, in place of what is pending and of
  // what had that number.
  void PlaceMaterial(ImportedMaterial material);
  // DropMaterial takes one away; pending material is then forgotten.
  void DropMaterial(uint32_t version);
  KeyState StateAt(TimePoint now) const;
  // DueForDestruction tells whether the waiting period is over.
  bool DueForDestruction(TimePoint now) const {
    return deletion_date && *deletion_date <= now;
  }
};

struct AliasRecord {
  std::string name;    // "alias/cfo"
  std::string target;  // key id
  TimePoint created, updated;
};

struct GrantRecord {
  policy::Grant grant;
  std::string key_id;
  std::string issuing_account;
  TimePoint created;
};

// ImportRecord is what GetParametersForImport left behind: used once, valid
// 24 hours.
struct ImportRecord {
  std::string id;  // hexadecimal
  std::string key_id;
  std::string algorithm;
  TimePoint expires;
  Bytes sealed_private_key;
};

// AccessKeyRecord lets programs of a user sign requests to the endpoint.
struct AccessKeyRecord {
  std::string id;    // "AKIA" and 16 letters and digits
  std::string user;  // Unix name
  uid_t uid = 0;     // whose name it was
  bool active = true;
  TimePoint created;
  Bytes sealed_secret;  // the secret access key, a text of 40 characters
};

// DigestKeyRecord is the key that signs the audit log's digests.
struct DigestKeyRecord {
  TimePoint created;
  Bytes public_key;   // DER
  Bytes sealed_seed;  // Ed25519
};

// Activity is when keys and grants were last used, as far as is known.
struct Activity {
  TimePoint since;                          // when it began to be noted
  std::map<std::string, TimePoint> grants;  // by grant id
  std::map<std::string, TimePoint> files;   // by key id: when a file was asked for
};

// JSON bodies of rows. The parsers are kCorrupt on anything the writers do not
// make; the rows were authenticated before.
nlohmann::json ToJson(const KeyRecord& key);  // without versions
// KeyStoreFormatOf is the format that a key store must at least be of to hold the row.
int KeyStoreFormatOf(const KeyRecord& key);
nlohmann::json ToJson(const MaterialVersion& version);
nlohmann::json ToJson(const AliasRecord& alias);
nlohmann::json ToJson(const GrantRecord& grant);
nlohmann::json ToJson(const ImportRecord& import);
nlohmann::json ToJson(const AccessKeyRecord& key);
nlohmann::json ToJson(const DigestKeyRecord& key);
nlohmann::json ToJson(const Activity& activity);
Result<KeyRecord> ParseKey(const std::string& id, const nlohmann::json& body,
                           const std::string& account);
Result<MaterialVersion> ParseVersion(const nlohmann::json& body);
Result<AliasRecord> ParseAlias(const std::string& name, const nlohmann::json& body);
Result<GrantRecord> ParseGrant(const std::string& id, const nlohmann::json& body);
Result<ImportRecord> ParseImport(const std::string& id, const nlohmann::json& body);
Result<AccessKeyRecord> ParseAccessKey(const std::string& id,
                                       const nlohmann::json& body);
Result<Bytes> ParseNote(const nlohmann::json& body);
Result<DigestKeyRecord> ParseDigestKey(const nlohmann::json& body);
Result<Activity> ParseActivity(const nlohmann::json& body);

// Times in rows are milliseconds since 1970; on the wire, seconds.
int64_t Milliseconds(TimePoint time);
double WireTime(TimePoint time);

}  // namespace keyfold
