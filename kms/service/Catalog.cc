#include "kms/service/Catalog.h"

#include <algorithm>

#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

// On disk: never change.
constexpr char kManifest[] = "manifest";
constexpr char kAccount[] = "account";
constexpr char kAuditHead[] = "audit-head";
constexpr char kIam[] = "iam";
constexpr char kAuditKey[] = "audit-key";

Bytes ToBytes(const Sha256Digest& digest) { return {digest.begin(), digest.end()}; }

Bytes RowMac(const SecretBytes& rows_key, Table table, const Row& row) {
  ByteWriter out;
  out.Prefixed(std::string_view("keyfold row v1"));
  out.Prefixed(TableName(table));
  out.Prefixed(row.id);
  out.Integer(static_cast<uint64_t>(row.body.size()));
  out.Append(row.body);
  return ToBytes(HmacSha256(rows_key, out.bytes()));
}

// ManifestDigest covers every row but the manifest itself.
std::string ManifestDigest(const std::map<std::pair<Table, std::string>, Bytes>& macs) {
  ByteWriter out;
  for (const auto& [where, mac] : macs) {
    out.Prefixed(TableName(where.first));
    out.Prefixed(where.second);
    out.Append(ByteView(mac));
  }
  return ToHex(Sha256(out.bytes()));
}

std::string ManifestBody(uint64_t sequence,
                         const std::map<std::pair<Table, std::string>, Bytes>& macs) {
  return json{{"sequence", sequence}, {"digest", ManifestDigest(macs)}}.dump();
}

Status Damaged(const std::string& what) {
  return {Error::kCorrupt,
          "The key store " + what + ". Restore it from a backup; nothing was changed."};
}

Result<json> ParseBody(const Row& row) {
  json body = json::parse(row.body, nullptr, false);
  if (!body.is_object()) return Damaged("has an unreadable row \"" + row.id + "\"");
  return body;
}

// AddRow puts what `row` means into `state`; versions may come in any order.
Status AddRow(State& state, Table table, const Row& row, const std::string& account) {
  KF_ASSIGN_OR_RETURN(const json body, ParseBody(row));
  switch (table) {
    case Table::kKeys: {
      KF_ASSIGN_OR_RETURN(KeyRecord key, ParseKey(row.id, body, account));
      state.keys[row.id] = std::make_shared<const KeyRecord>(std::move(key));
      return OkStatus();
    }
    case Table::kKeyVersions: {
      KF_ASSIGN_OR_RETURN(MaterialVersion version, ParseVersion(body));
      const auto key = state.FindKey(row.id.substr(0, row.id.find('/')));
      if (!key) return Damaged("has material of a key that is not there");
      KeyRecord with = *key;
      with.PutVersion(std::move(version));
      state.keys[key->id] = std::make_shared<const KeyRecord>(std::move(with));
      return OkStatus();
    }
    case Table::kAliases: {
      KF_ASSIGN_OR_RETURN(AliasRecord alias, ParseAlias(row.id, body));
      state.PutAlias(std::move(alias));
      return OkStatus();
    }
    case Table::kGrants:
      return OkStatus();  // AddGrants
    case Table::kImportParameters: {
      KF_ASSIGN_OR_RETURN(state.imports[row.id], ParseImport(row.id, body));
      return OkStatus();
    }
    case Table::kSettings: {
      if (row.id.starts_with(kNoteRow)) {
        KF_ASSIGN_OR_RETURN(state.notes[row.id.substr(kNoteRow.size())],
                            ParseNote(body));
      }
      if (!row.id.starts_with(kAccessKeyRow)) return OkStatus();
      const std::string id = row.id.substr(kAccessKeyRow.size());
      KF_ASSIGN_OR_RETURN(state.access_keys[id], ParseAccessKey(id, body));
      return OkStatus();
    }
  }
  return OkStatus();
}

Status AddGrants(State& state, const std::vector<Row>& rows) {
  std::map<std::string, std::vector<GrantRef>> lists;
  for (const Row& row : rows) {
    KF_ASSIGN_OR_RETURN(const json body, ParseBody(row));
    KF_ASSIGN_OR_RETURN(GrantRecord grant, ParseGrant(row.id, body));
    std::vector<GrantRef>& list = lists[grant.key_id];
    list.push_back(std::make_shared<const GrantRecord>(std::move(grant)));
  }
  for (auto& [key_id, list] : lists)
    state.grants[key_id] = std::make_shared<const GrantIndex>(std::move(list));
  return OkStatus();
}

json ToJson(const Account& account) {
  return {{"id", account.id},
          {"region", account.region},
          {"storeId", account.store_id},
          {"rootUid", account.root_uid}};
}

json ToJson(const AuditSeal& seal) {
  json body = ToJson(seal.head);
  body["digest"] = {{"sequence", seal.digest.sequence},
                    {"signature", seal.digest.signature}};
  return body;
}

AuditHead HeadOf(const json& body) {
  return {body.at("sequence").get<uint64_t>(), body.at("hash").get<std::string>()};
}

// Stores of old have no digests.
AuditSeal SealOf(const json& body) {
  AuditSeal seal{HeadOf(body), {}};
  if (const auto digest = body.find("digest"); digest != body.end())
    seal.digest = {digest->at("sequence").get<uint64_t>(),
                   digest->at("signature").get<std::string>()};
  return seal;
}

}  // namespace

std::vector<Change> Catalog::Authenticated(const SecretBytes& rows_key,
                                           const std::vector<Change>& changes,
                                           uint64_t sequence, RowMacs& macs) {
  std::vector<Change> out = changes;
  for (Change& change : out) {
    const std::pair where(change.table, change.row.id);
    if (change.remove) {
      macs.erase(where);
    } else {
      change.row.mac = RowMac(rows_key, change.table, change.row);
      macs[where] = change.row.mac;
    }
  }
  Change manifest{Table::kSettings, {kManifest, {}, {}}, false};
  manifest.row.body = ManifestBody(sequence, macs);
  manifest.row.mac = RowMac(rows_key, Table::kSettings, manifest.row);
  out.push_back(std::move(manifest));
  return out;
}

Status Catalog::Fill(KeyStore& store, const RootSecrets& secrets,
                     const Account& account, Transaction transaction) {
  transaction.PutSetting(kAccount, ToJson(account));
  transaction.PutSetting(kAuditHead, ToJson(AuditSeal{{0, std::string(64, '0')}, {}}));
  RowMacs macs;
  return store.Commit(Authenticated(secrets.rows, transaction.changes(),
                                    transaction.next().sequence, macs));
}

Result<std::unique_ptr<Catalog>> Catalog::Load(std::unique_ptr<KeyStore> store,
                                               const RootSecrets& secrets) {
  std::unique_ptr<Catalog> catalog(new Catalog(std::move(store), secrets));
  try {
    KF_RETURN_IF_ERROR(catalog->LoadRows(secrets));
  } catch (const std::exception&) {
    return Damaged("has rows that cannot be read");
  }
  return catalog;
}

Status Catalog::LoadRows(const RootSecrets& secrets) {
  State state;
  std::map<Table, std::vector<Row>> tables;
  for (Table table : kAllTables) {
    KF_ASSIGN_OR_RETURN(tables[table], store_->ReadAll(table));
    for (const Row& row : tables[table]) {
      if (!ConstantTimeEqual(RowMac(rows_key_, table, row), row.mac))
        return Damaged("was altered at row \"" + row.id + "\" of " +
                       std::string(TableName(table)));
      if (row.id != kManifest || table != Table::kSettings)
        macs_[{table, row.id}] = row.mac;
    }
  }
  KF_RETURN_IF_ERROR(ReadSettings(secrets, tables[Table::kSettings], state));
  for (Table table : kAllTables)
    for (const Row& row : tables[table])
      KF_RETURN_IF_ERROR(AddRow(state, table, row, account_.id));
  KF_RETURN_IF_ERROR(AddGrants(state, tables[Table::kGrants]));
  state_ = std::make_shared<const State>(std::move(state));
  return OkStatus();
}

Status Catalog::ReadSettings(const RootSecrets& secrets, const std::vector<Row>& rows,
                             State& state) {
  std::map<std::string, json> settings;
  for (const Row& row : rows) {
    KF_ASSIGN_OR_RETURN(settings[row.id], ParseBody(row));
  }
  for (const char* name : {kManifest, kAccount, kAuditHead, kIam})
    if (!settings.contains(name))
      return Damaged("lacks its row \"" + std::string(name) + "\"");
  if (settings[kManifest].at("digest") != ManifestDigest(macs_))
    return Damaged("lacks a row, or holds one of an earlier time");
  state.sequence = settings[kManifest].at("sequence").get<uint64_t>();
  const json& account = settings[kAccount];
  account_ = {
      account.at("id").get<std::string>(), account.at("region").get<std::string>(),
      account.at("storeId").get<std::string>(), account.at("rootUid").get<uid_t>()};
  sealed_ = SealOf(settings[kAuditHead]);
  if (const auto key = settings.find(kDigestKeyRow); key != settings.end()) {
    KF_ASSIGN_OR_RETURN(state.digest_key, ParseDigestKey(key->second));
  }
  if (const auto rules = settings.find(kAlertRulesRow); rules != settings.end()) {
    auto& kept = state.alert_rules;
    kept.text = rules->second.at("document").get<std::string>();
    kept.applied_by = rules->second.at("appliedBy").get<std::string>();
    KF_ASSIGN_OR_RETURN(
        policy::AlertRules parsed,
        policy::ParseAlertRules(kept.text, "the rules of alerts", account_.id));
    for (policy::AlertRule& rule : parsed.rules)
      for (policy::AlertAction& action : rule.actions) action.stored = true;
    kept.rules = std::make_shared<const policy::AlertRules>(
        WithUser(std::move(parsed), kept.applied_by));
  }
  if (const auto found = settings.find(kComplianceRow); found != settings.end())
    state.non_compliant = found->second.at("nonCompliant").get<std::set<std::string>>();
  if (const auto activity = settings.find(kActivityRow); activity != settings.end()) {
    KF_ASSIGN_OR_RETURN(state.activity, ParseActivity(activity->second));
  }
  if (const auto released = settings.find(kReleasedRow); released != settings.end())
    state.released = HeadOf(released->second);
  audit_key_ = CopySecret(secrets.audit);
  if (const auto it = settings.find(kAuditKey); it != settings.end()) {
    const auto sealed = FromBase64(it->second.at("sealed").get<std::string>());
    if (!sealed) return Damaged("has an unreadable audit key");
    KF_ASSIGN_OR_RETURN(audit_key_, OpenAuditKey(secrets, account_.store_id, *sealed));
  }
  state.iam_text = settings[kIam].at("document").get<std::string>();
  KF_ASSIGN_OR_RETURN(
      policy::Iam iam,
      policy::ParseIam(state.iam_text, "the account's IAM", account_.id));
  state.iam = std::make_shared<const policy::IamIndex>(std::move(iam), account_.id);
  return OkStatus();
}

Result<std::vector<Change>> Catalog::Rows() const {
  std::vector<Change> rows;
  RowMacs found;
  std::string manifest;
  for (Table table : kAllTables) {
    KF_ASSIGN_OR_RETURN(std::vector<Row> read, store_->ReadAll(table));
    for (Row& row : read) {
      if (!ConstantTimeEqual(RowMac(rows_key_, table, row), row.mac))
        return Damaged("was altered at row \"" + row.id + "\" of " +
                       std::string(TableName(table)));
      if (row.id == kManifest && table == Table::kSettings)
        manifest = row.body;
      else
        found[{table, row.id}] = row.mac;
      rows.push_back({table, std::move(row), false});
    }
  }
  if (found != macs_ || manifest != ManifestBody(state()->sequence, macs_))
    return Damaged("was altered on disk while it was in use");
  return rows;
}

Status Catalog::CopyTo(
    KeyStore& store, const RootSecrets& secrets,
    const std::function<Result<json>(Table, const Row&)>& body_of) const {
  KF_ASSIGN_OR_RETURN(const std::vector<Change> rows, Rows());
  std::vector<Change> copies;
  for (const Change& change : rows) {
    const Row& row = change.row;
    if (change.table == Table::kSettings &&
        (row.id == kManifest || row.id == kAuditKey))
      continue;
    KF_ASSIGN_OR_RETURN(const json body, body_of(change.table, row));
    if (!body.is_null()) copies.push_back({change.table, {row.id, body.dump(), {}}});
  }
  KF_RETURN_IF_ERROR(store.RaiseFormat(store_->format()));
  const Bytes sealed = SealAuditKey(secrets, account_.store_id, audit_key_);
  copies.push_back(
      {Table::kSettings, {kAuditKey, json{{"sealed", ToBase64(sealed)}}.dump(), {}}});
  RowMacs macs;
  return store.Commit(Authenticated(secrets.rows, copies, state()->sequence, macs));
}

// CommitRows stores a commit, of which the manifest is the last row. One that is told
// to have failed may be there all the same, when the disk failed after it; whoever went
// on without it would write a manifest of rows that are not those of the store.
Status Catalog::CommitRows(const std::vector<Change>& rows) {
  if (unsure_) KF_RETURN_IF_ERROR(BeSure());
  Status committed = store_->Commit(rows);
  if (committed.ok()) return committed;
  const auto manifest = StoredManifest();
  unsure_ = !manifest.ok();
  if (!manifest.ok() || *manifest != rows.back().row.body) return committed;
  // It is there; once more, so that it survives power loss.
  committed = store_->Commit(rows);
  unsure_ = !committed.ok();
  return committed;
}

Result<std::string> Catalog::StoredManifest() const {
  KF_ASSIGN_OR_RETURN(const std::vector<Row> rows, store_->ReadAll(Table::kSettings));
  for (const Row& row : rows)
    if (row.id == kManifest) return row.body;
  return Damaged("lacks its row \"" + std::string(kManifest) + "\"");
}

// BeSure is kCorrupt if the store holds a commit that was told to have failed.
Status Catalog::BeSure() {
  KF_ASSIGN_OR_RETURN(const std::string stored, StoredManifest());
  if (stored != ManifestBody(state()->sequence, macs_))
    return {Error::kCorrupt,
            "The key store holds a change that was told to have failed. Check the disk "
            "and mount again."};
  unsure_ = false;
  return OkStatus();
}

Status Catalog::Commit(Transaction transaction, const AuditSeal& seal) {
  transaction.PutSetting(kAuditHead, ToJson(seal));
  // First, so that no program of before ever sees rows that it would call damaged.
  KF_RETURN_IF_ERROR(store_->RaiseFormat(transaction.next().KeyStoreFormat()));
  RowMacs macs = macs_;
  const auto rows = Authenticated(rows_key_, transaction.changes(),
                                  transaction.next().sequence, macs);
  // Before the commit, as nothing may fail between what is on disk and what is known.
  auto next = std::make_shared<const State>(transaction.TakeNext());
  AuditSeal kept = seal;
  KF_RETURN_IF_ERROR(CommitRows(rows));
  macs_ = std::move(macs);
  std::lock_guard lock(mutex_);
  sealed_ = std::move(kept);
  state_ = std::move(next);
  return OkStatus();
}

}  // namespace keyfold
