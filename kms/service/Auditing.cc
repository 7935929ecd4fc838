// Looking at the audit log and at the store.
#include "kms/audit/AuditFiles.h"
#include "kms/service/Backup.h"
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

// Of records in one answer, which take ten times as much while it is made: for who may
// see all, and for users who look at what they did themselves.
constexpr size_t kMostBytes = 8 << 20, kMostOwnBytes = 1 << 20;

// IsOfWhoMay tells whether a call that failed so did after its caller was found to have
// the right.
bool IsOfWhoMay(Error error) {
  switch (error) {
    case Error::kDisabled:
    case Error::kInvalidState:
    case Error::kUnavailable:
    case Error::kInvalidCiphertext:
    case Error::kIncorrectKey:
    case Error::kInvalidKeyUsage:
    case Error::kInvalidMac:
    case Error::kDryRunOperation:
      return true;
    default:
      return false;
  }
}

// HideWhetherKeysExist: those who may not know do not learn from their own records
// which key a name stands for.
void HideWhetherKeysExist(json& event) {
  const std::string error = event.value("errorCode", "");
  if (event.value("eventSource", "") == "kms.amazonaws.com" && !error.empty() &&
      !IsOfWhoMay(ErrorFromName(error)))
    event["resources"] = json::array();
}

// UserOf is a user as records name it: user:NAME is NAME.
std::string UserOf(std::string given, const Account& account) {
  constexpr std::string_view kShort = "user:", kRole = "role:";
  if (given.starts_with(kShort)) given.erase(0, kShort.size());
  if (given.starts_with(kRole))
    given = policy::RoleArn(account.id, given.substr(kRole.size()));
  return given;
}

// CheckNames is kValidation for a user, and kNotFound for a key, that there is not.
Status CheckNames(const Invocation& call) {
  const Parameters& p = call.parameters;
  const std::string user = p.String("User"), key = p.String("KeyId");
  const bool role = user.starts_with("role:") ||
                    (user.starts_with("arn:") &&
                     !user.starts_with(policy::UserArn(call.account.id, "")));
  if (!user.empty() && !role)
    KF_RETURN_IF_ERROR(call.identity.Named(user, *call.state->iam).status());
  if (!key.empty() && !ResolveKey(*call.state, call.account, key, call.now))
    return {Error::kNotFound, "Key '" + key + "' does not exist"};
  return OkStatus();
}

}  // namespace

Answer LookupEvents(Invocation& call) {
  const Parameters& p = call.parameters;
  AuditFilter filter;
  filter.since = p.String("Since");
  filter.user = UserOf(p.String("User"), call.account);
  filter.refused = p.Boolean("Refused");
  filter.after_sequence = static_cast<uint64_t>(p.Integer("AfterSequence").value_or(0));
  filter.before_sequence =
      static_cast<uint64_t>(p.Integer("BeforeSequence").value_or(0));
  const int64_t limit = p.Integer("MaxResults").value_or(kMostResults);
  filter.limit = static_cast<size_t>(limit);
  filter.max_bytes = kMostBytes;
  if (p.Has("KeyId")) {
    const std::string given = p.String("KeyId");
    const KeyRef key = ResolveKey(*call.state, call.account, given, call.now);
    filter.key = key ? key->id : given;  // a destroyed key is known by its id
  }
  // Everybody may see what they did themselves.
  const Status everything = call.AuthorizeOnAccount(kLookup, "*");
  if (!everything.ok()) {
    if (!filter.user.empty() && filter.user != call.principal.user_name &&
        filter.user != call.principal.arn)
      return everything;
    filter.user = call.principal.arn;
    filter.max_bytes = kMostOwnBytes;
  }
  const uint64_t last = call.audit.head().sequence;
  KF_ASSIGN_OR_RETURN(AuditRecords found, call.audit.Read(filter));
  // Who may see everything is told of names that are nobody's.
  if (everything.ok() && found.records.empty()) KF_RETURN_IF_ERROR(CheckNames(call));
  if (!everything.ok())
    for (json& event : found.records) HideWhetherKeysExist(event);
  json answer = {{"Events", std::move(found.records)},
                 {"LastSequence", last},
                 {"Truncated", found.cut}};
  if (!found.damage.empty()) answer["Damage"] = found.damage;
  return answer;
}

Answer VerifyLog(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(kLookup, "*"));
  KF_ASSIGN_OR_RETURN(
      const AuditSummary found,
      call.audit.Verify(call.catalog.sealed().head, call.state->released));
  return json{{"Records", found.records},
              {"FirstRecord", found.first_sequence},
              {"Files", found.files},
              {"Digests", found.digests},
              {"SignedRecords", found.signed_to},
              {"SignedAt", found.signed_at}};
}

// A public key is for all.
Answer ListPublicKeys(Invocation& call) {
  json keys = json::array();
  if (const auto& key = call.state->digest_key)
    keys.push_back({{"Value", ToBase64(key->public_key)},
                    {"Fingerprint", ToHex(Sha256(key->public_key))},
                    {"ValidityStartTime", WireTime(key->created)}});
  return json{{"PublicKeyList", std::move(keys)}};
}

Answer ArchiveLog(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  const std::string archive = ArchiveName(call.audit.first_sequence());
  KF_RETURN_IF_ERROR(call.log_keeper.Rotate());
  return json{{"Archive", archive}};
}

// Only what verifies may go: later nobody can tell any more.
Answer ReleaseLog(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  const std::string name = call.parameters.String("Archive");
  KF_ASSIGN_OR_RETURN(const AuditHead end, call.audit.ArchiveEnd(name));
  if (end.sequence <= call.state->released.sequence)
    return Status(Error::kValidation, name + " is released already.");
  KF_RETURN_IF_ERROR(
      call.audit.Verify(call.catalog.sealed().head, call.state->released).status());
  call.Change().PutReleased(end);
  return json{{"ReleasedSequence", end.sequence}, {"ReleasedHash", end.hash}};
}

Answer ListArchives(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(kLookup, "*"));
  KF_ASSIGN_OR_RETURN(const auto names, call.audit.Archives());
  json archives = json::array();
  for (const std::string& name : names) {
    KF_ASSIGN_OR_RETURN(const AuditHead end, call.audit.ArchiveEnd(name));
    archives.push_back({{"Archive", name},
                        {"FirstRecord", *ArchiveStart(name)},
                        {"LastRecord", end.sequence},
                        {"Released", end.sequence <= call.state->released.sequence}});
  }
  return json{{"Archives", std::move(archives)}};
}

Answer GetStatus(Invocation& call) {
  std::map<std::string, size_t> states;
  for (const auto& [id, key] : call.state->keys)
    ++states[std::string(StateName(key->StateAt(call.now)))];
  return json{{"StoreId", call.account.store_id},
              {"Account", call.account.id},
              {"Region", call.account.region},
              {"Keys", states},
              {"Aliases", call.state->aliases.size()},
              {"Grants", call.state->GrantCount()},
              {"RootKey", call.root_keys.Describe()},
              {"AuditRecords", call.audit.head().sequence}};
}

// Counts as a change only to have no commit beside it.
Answer BackupKeyStore(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  KF_ASSIGN_OR_RETURN(const std::string configuration, call.catalog.Configuration());
  KF_ASSIGN_OR_RETURN(const std::vector<Change> rows, call.catalog.Rows());
  const bool newest = call.catalog.format() == kNewestKeyStoreFormat;
  const BackupDescription description{call.account.store_id, FormatUtc(call.now),
                                      call.state->sequence, configuration,
                                      static_cast<uint16_t>(newest ? 2 : 1)};
  return json{{"Backup", ToBase64(SealBackup(secrets->backup, description, rows))},
              {"KeyStoreSequence", call.state->sequence},
              {"Keys", call.state->keys.size()}};
}

// The change itself is of files, which this service does not know; it is recorded, as a
// commit, before it is made.
Answer RecordStoreChange(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  (void)call.Change();
  return json::object();
}

}  // namespace keyfold
