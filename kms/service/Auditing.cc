// Looking at the audit log and at the store.
#include "kms/service/Backup.h"
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kLookup[] = "cloudtrail:LookupEvents";
constexpr int64_t kMostResults = 100000;
constexpr size_t kMostBytes = 8 << 20;  // of records in one answer

// HideWhetherKeysExist: those who are refused do not learn from their own records
// which key a name stands for.
void HideWhetherKeysExist(json& event) {
  if (event.value("eventSource", "") == "kms.amazonaws.com" &&
      event.value("errorCode", "") == ErrorName(Error::kAccessDenied))
    event["resources"] = json::array();
}

}  // namespace

Answer LookupEvents(Invocation& call) {
  const Parameters& p = call.parameters;
  AuditFilter filter;
  filter.since = p.String("Since");
  filter.user = p.String("User");
  filter.after_sequence = static_cast<uint64_t>(p.Integer("AfterSequence").value_or(0));
  filter.before_sequence =
      static_cast<uint64_t>(p.Integer("BeforeSequence").value_or(0));
  const int64_t limit = p.Integer("MaxResults").value_or(kMostResults);
  KF_RETURN_IF_ERROR(InRange("MaxResults", limit, 1, kMostResults));
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
  }
  const uint64_t last = call.audit.head().sequence;
  bool cut = false;
  KF_ASSIGN_OR_RETURN(std::vector<json> events, call.audit.Read(filter, &cut));
  if (!everything.ok())
    for (json& event : events) HideWhetherKeysExist(event);
  return json{
      {"Events", std::move(events)}, {"LastSequence", last}, {"Truncated", cut}};
}

Answer VerifyLog(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(kLookup, "*"));
  KF_ASSIGN_OR_RETURN(const uint64_t records,
                      call.audit.Verify(call.catalog.sealed_head()));
  return json{{"Records", records}};
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
              {"AuditRecords", call.audit.head().sequence}};
}

// Counts as a change only to have no commit beside it.
Answer BackupKeyStore(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  KF_ASSIGN_OR_RETURN(const std::string configuration, call.catalog.Configuration());
  KF_ASSIGN_OR_RETURN(const std::vector<Change> rows, call.catalog.Rows());
  const BackupDescription description{call.account.store_id, FormatUtc(call.now),
                                      call.state->sequence, configuration};
  return json{{"Backup", ToBase64(SealBackup(call.secrets.backup, description, rows))},
              {"KeyStoreSequence", call.state->sequence},
              {"Keys", call.state->keys.size()}};
}

}  // namespace keyfold
