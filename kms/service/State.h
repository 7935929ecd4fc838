// State: one moment of everything the KMS keeps, and Transaction: the way from
// one moment to the next.
//
// A State is immutable once it is published, so a call works on one moment
// without locks. Must not know: who may, how rows are authenticated.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kms/audit/AuditLog.h"
#include "kms/service/GrantIndex.h"
#include "kms/service/Records.h"
#include "kms/store/KeyStore.h"
#include "policy/engine/Engine.h"
#include "policy/model/AlertRules.h"

namespace keyfold {

struct State {
  uint64_t sequence = 0;  // of the commit that made it
  std::map<std::string, std::shared_ptr<const KeyRecord>, std::less<>> keys;
  std::map<std::string, AliasRecord, std::less<>> aliases;
  // Their names by the key's id; a key without aliases has none.
  std::map<std::string, std::set<std::string>, std::less<>> alias_names;
  // By the key's id; a key without grants has none.
  std::map<std::string, std::shared_ptr<const GrantIndex>, std::less<>> grants;
  std::map<std::string, ImportRecord, std::less<>> imports;
  std::map<std::string, AccessKeyRecord, std::less<>> access_keys;
  std::map<std::string, Bytes, std::less<>> notes;  // DataKeys::KeepNote
  std::optional<DigestKeyRecord> digest_key;  // none in a store of old, until opened
  // Archives of the audit log with records up to this one may be missing.
  AuditHead released;
  struct {
    std::string text;        // as it was given
    std::string applied_by;  // whom commands without a user run as
    std::shared_ptr<const policy::AlertRules> rules =
        std::make_shared<const policy::AlertRules>();
  } alert_rules;
  std::set<std::string> non_compliant;  // ComplianceFinding::Name
  std::optional<Activity> activity;     // as it was last kept
  std::string iam_text;
  std::shared_ptr<const policy::IamIndex> iam;

  // KeyStoreFormat is the format that its rows need.
  int KeyStoreFormat() const;
  // Null when there is none.
  std::shared_ptr<const KeyRecord> FindKey(std::string_view id) const;
  const GrantIndex& GrantsOf(std::string_view key_id) const;
  // FindGrant looks through all keys; null when there is none of that id.
  GrantRef FindGrant(std::string_view id) const;
  size_t GrantCount() const;
  const std::set<std::string>& AliasesOf(std::string_view key_id) const;
  // The first alias of the key, or empty.
  std::string AliasOf(std::string_view key_id) const;

  // While it is made.
  void PutAlias(AliasRecord alias);
  void RemoveAlias(const std::string& name);
};

// Transaction collects changes on top of a State: `next` is how things will be,
// `changes` the rows that make it so (without MACs). Not synchronised.
class Transaction {
 public:
  explicit Transaction(const State& base) : next_(base) { ++next_.sequence; }

  const State& next() const { return next_; }
  State TakeNext() { return std::move(next_); }
  // SkipTo gives the commit a higher number than the next one.
  void SkipTo(uint64_t sequence) { next_.sequence = sequence; }
  const std::vector<Change>& changes() const { return changes_; }

  // PutKey also writes the versions that are new and removes those that are
  // gone.
  void PutKey(KeyRecord key);
  // RemoveKey takes its versions, aliases, grants and imports with it.
  void RemoveKey(const std::string& id);
  void PutAlias(AliasRecord alias);
  void RemoveAlias(const std::string& name);
  // PutGrant adds one that is not there.
  void PutGrant(GrantRecord grant);
  void RemoveGrant(const std::string& id);
  void PutImport(ImportRecord import);
  void RemoveImport(const std::string& id);
  void PutAccessKey(AccessKeyRecord key);
  void RemoveAccessKey(const std::string& id);
  void PutIam(std::string text, policy::Iam iam, const std::string& account);
  void PutNote(const std::string& name, Bytes value);
  void PutDigestKey(DigestKeyRecord key);
  void PutReleased(const AuditHead& released);
  void PutAlertRules(std::string text, std::string applied_by,
                     policy::AlertRules rules);
  void PutCompliance(std::set<std::string> non_compliant);
  void PutActivity(Activity activity);
  void PutSetting(const std::string& name, const nlohmann::json& value);

 private:
  void Put(Table table, const std::string& id, const nlohmann::json& body);
  void Remove(Table table, const std::string& id);
  void SetGrantsOf(const std::string& key_id, GrantIndex grants);

  State next_;
  std::vector<Change> changes_;
};

std::string VersionRowId(const std::string& key_id, uint32_t version);
// Access keys are rows of the settings: this and the key's id. So are notes.
inline constexpr std::string_view kAccessKeyRow = "access-key/";
inline constexpr std::string_view kNoteRow = "note/";
// Names of settings.
inline constexpr char kDigestKeyRow[] = "audit-digest-key";
inline constexpr char kReleasedRow[] = "audit-released";
inline constexpr char kAlertRulesRow[] = "alert-rules";
inline constexpr char kComplianceRow[] = "compliance";
inline constexpr char kActivityRow[] = "activity";
// WithUser gives commands without a user that of who applied the rules.
policy::AlertRules WithUser(policy::AlertRules rules, const std::string& applied_by);
nlohmann::json ToJson(const AuditHead& head);

}  // namespace keyfold
