#include "kms/service/State.h"

#include <algorithm>

namespace keyfold {

int State::KeyStoreFormat() const {
  int format = kOldestKeyStoreFormat;
  for (const auto& [id, key] : keys) format = std::max(format, KeyStoreFormatOf(*key));
  return format;
}

std::shared_ptr<const KeyRecord> State::FindKey(std::string_view id) const {
  const auto it = keys.find(id);
  return it == keys.end() ? nullptr : it->second;
}

const GrantIndex& State::GrantsOf(std::string_view key_id) const {
  static const GrantIndex kNone;
  const auto it = grants.find(key_id);
  return it == grants.end() ? kNone : *it->second;
}

GrantRef State::FindGrant(std::string_view id) const {
  for (const auto& [key_id, index] : grants)
    if (GrantRef grant = index->Find(id)) return grant;
  return nullptr;
}

size_t State::GrantCount() const {
  size_t count = 0;
  for (const auto& [key_id, index] : grants) count += index->all().size();
  return count;
}

const std::set<std::string>& State::AliasesOf(std::string_view key_id) const {
  static const std::set<std::string> kNone;
  const auto it = alias_names.find(key_id);
  return it == alias_names.end() ? kNone : it->second;
}

std::string State::AliasOf(std::string_view key_id) const {
  const std::set<std::string>& names = AliasesOf(key_id);
  return names.empty() ? std::string() : *names.begin();
}

void State::PutAlias(AliasRecord alias) {
  RemoveAlias(alias.name);
  alias_names[alias.target].insert(alias.name);
  const std::string name = alias.name;
  aliases[name] = std::move(alias);
}

void State::RemoveAlias(const std::string& name) {
  const auto alias = aliases.find(name);
  if (alias == aliases.end()) return;
  const auto names = alias_names.find(alias->second.target);
  names->second.erase(name);
  if (names->second.empty()) alias_names.erase(names);
  aliases.erase(alias);
}

std::string VersionRowId(const std::string& key_id, uint32_t version) {
  return key_id + "/" + std::to_string(version);
}

nlohmann::json ToJson(const AuditHead& head) {
  return {{"sequence", head.sequence}, {"hash", head.hash}};
}

void Transaction::Put(Table table, const std::string& id, const nlohmann::json& body) {
  changes_.push_back({table, {id, body.dump(), {}}, false});
}

void Transaction::Remove(Table table, const std::string& id) {
  changes_.push_back({table, {id, {}, {}}, true});
}

void Transaction::PutKey(KeyRecord key) {
  const auto before = next_.FindKey(key.id);
  const std::vector<MaterialVersion> none;
  const auto& old = before ? before->versions : none;
  auto has = [](const std::vector<MaterialVersion>& list, const MaterialVersion& one) {
    return std::any_of(list.begin(), list.end(), [&](const MaterialVersion& other) {
      return other.version == one.version && other.sealed == one.sealed;
    });
  };
  Put(Table::kKeys, key.id, ToJson(key));
  for (const MaterialVersion& version : old)
    if (!has(key.versions, version))
      Remove(Table::kKeyVersions, VersionRowId(key.id, version.version));
  for (const MaterialVersion& version : key.versions)
    if (!has(old, version))
      Put(Table::kKeyVersions, VersionRowId(key.id, version.version), ToJson(version));
  auto shared = std::make_shared<const KeyRecord>(std::move(key));
  next_.keys[shared->id] = shared;
}

void Transaction::RemoveKey(const std::string& id) {
  const auto key = next_.FindKey(id);
  if (!key) return;
  for (const MaterialVersion& version : key->versions)
    Remove(Table::kKeyVersions, VersionRowId(id, version.version));
  const std::set<std::string> aliases = next_.AliasesOf(id);
  std::vector<std::string> imports;
  for (const auto& [import_id, import] : next_.imports)
    if (import.key_id == id) imports.push_back(import_id);
  for (const std::string& name : aliases) RemoveAlias(name);
  for (const GrantRef& grant : next_.GrantsOf(id).all())
    Remove(Table::kGrants, grant->grant.id);
  next_.grants.erase(id);
  for (const std::string& import : imports) RemoveImport(import);
  Remove(Table::kKeys, id);
  next_.keys.erase(id);
}

void Transaction::PutAlias(AliasRecord alias) {
  Put(Table::kAliases, alias.name, ToJson(alias));
  next_.PutAlias(std::move(alias));
}

void Transaction::RemoveAlias(const std::string& name) {
  Remove(Table::kAliases, name);
  next_.RemoveAlias(name);
}

void Transaction::PutGrant(GrantRecord grant) {
  Put(Table::kGrants, grant.grant.id, ToJson(grant));
  auto shared = std::make_shared<const GrantRecord>(std::move(grant));
  const std::string key_id = shared->key_id;
  SetGrantsOf(key_id, next_.GrantsOf(key_id).With(std::move(shared)));
}

void Transaction::RemoveGrant(const std::string& id) {
  const GrantRef grant = next_.FindGrant(id);
  if (!grant) return;
  Remove(Table::kGrants, id);
  SetGrantsOf(grant->key_id, next_.GrantsOf(grant->key_id).Without(id));
}

void Transaction::SetGrantsOf(const std::string& key_id, GrantIndex grants) {
  if (grants.all().empty())
    next_.grants.erase(key_id);
  else
    next_.grants[key_id] = std::make_shared<const GrantIndex>(std::move(grants));
}

void Transaction::PutImport(ImportRecord import) {
  Put(Table::kImportParameters, import.id, ToJson(import));
  next_.imports[import.id] = std::move(import);
}

void Transaction::RemoveImport(const std::string& id) {
  Remove(Table::kImportParameters, id);
  next_.imports.erase(id);
}

void Transaction::PutAccessKey(AccessKeyRecord key) {
  PutSetting(std::string(kAccessKeyRow) + key.id, ToJson(key));
  next_.access_keys[key.id] = std::move(key);
}

void Transaction::RemoveAccessKey(const std::string& id) {
  Remove(Table::kSettings, std::string(kAccessKeyRow) + id);
  next_.access_keys.erase(id);
}

void Transaction::PutIam(std::string text, policy::Iam iam,
                         const std::string& account) {
  PutSetting("iam", {{"document", text}});
  next_.iam_text = std::move(text);
  next_.iam = std::make_shared<const policy::IamIndex>(std::move(iam), account);
}

void Transaction::PutNote(const std::string& name, Bytes value) {
  PutSetting(std::string(kNoteRow) + name, {{"value", ToBase64(value)}});
  next_.notes[name] = std::move(value);
}

void Transaction::PutDigestKey(DigestKeyRecord key) {
  PutSetting(kDigestKeyRow, ToJson(key));
  next_.digest_key = std::move(key);
}

void Transaction::PutReleased(const AuditHead& released) {
  PutSetting(kReleasedRow, ToJson(released));
  next_.released = released;
}

policy::AlertRules WithUser(policy::AlertRules rules, const std::string& applied_by) {
  for (policy::AlertRule& rule : rules.rules)
    for (policy::AlertAction& action : rule.actions)
      if (action.user.empty()) action.user = applied_by;
  return rules;
}

void Transaction::PutAlertRules(std::string text, std::string applied_by,
                                policy::AlertRules rules) {
  PutSetting(kAlertRulesRow, {{"document", text}, {"appliedBy", applied_by}});
  next_.alert_rules.rules = std::make_shared<const policy::AlertRules>(
      WithUser(std::move(rules), applied_by));
  next_.alert_rules.text = std::move(text);
  next_.alert_rules.applied_by = std::move(applied_by);
}

void Transaction::PutCompliance(std::set<std::string> non_compliant) {
  PutSetting(kComplianceRow, {{"nonCompliant", non_compliant}});
  next_.non_compliant = std::move(non_compliant);
}

void Transaction::PutActivity(Activity activity) {
  PutSetting(kActivityRow, ToJson(activity));
  next_.activity = std::move(activity);
}

void Transaction::PutSetting(const std::string& name, const nlohmann::json& value) {
  Put(Table::kSettings, name, value);
}

}  // namespace keyfold
