#include "kms/service/Restore.h"

#include <algorithm>

#include "kms/service/Backup.h"
#include "kms/service/Catalog.h"
#include "kms/service/LogKeeper.h"
#include "kms/service/Recorder.h"

namespace keyfold {
namespace {

using nlohmann::json;

// A record must fit a line of the log.
constexpr size_t kMostLines = 60;
constexpr size_t kLongestLine = 400;

json Lines(const std::vector<std::string>& lines) {
  json list = json::array();
  for (const std::string& line : lines)
    if (list.size() < kMostLines) list.push_back(line.substr(0, kLongestLine));
  return {{"count", lines.size()}, {"first", std::move(list)}};
}

Status CheckMetadataKey(const RootSecrets& secrets, const State& state,
                        const RestoreOptions& options) {
  const auto header = ParseBlobHeader(options.metadata_key);
  const auto key = header ? state.FindKey(header->key_id) : nullptr;
  if (key &&
      DecryptUnder(secrets, *key, options.metadata_key, options.metadata_context).ok())
    return OkStatus();
  return {Error::kCorrupt,
          "The backup's keys do not open the store's metadata key in keyfold.json. "
          "Move keyfold.json away to have the backup's put in its place."};
}

// LastRelease is how far archives may be missing, as the log itself tells: a release
// may be later than the backup.
Result<AuditHead> LastRelease(const AuditLog& log) {
  AuditFilter filter;
  filter.event = "ReleaseLog";
  KF_ASSIGN_OR_RETURN(const AuditRecords found, log.Read(filter));
  AuditHead last;
  for (const json& record : found.records)
    if (const auto released = ReleasedIn(record);
        released && released->sequence > last.sequence)
      last = *released;
  return last;
}

// CheckGoesOn is kCorrupt when an archive is away that tells of changes since the
// backup: the chain may have gaps where archives were released.
Status CheckGoesOn(const AuditLog& log, const AuditHead& sealed) {
  AuditFilter filter;
  filter.after_sequence = sealed.sequence;
  KF_ASSIGN_OR_RETURN(const std::vector<json> later, log.ReadAll(filter));
  uint64_t next = sealed.sequence + 1;
  for (const json& record : later) {
    if (record.value("sequence", uint64_t{0}) != next) break;
    ++next;
  }
  if (next == log.head().sequence + 1) return OkStatus();
  return {Error::kCorrupt,
          "An archive of the audit log, with record " + std::to_string(next) +
              ", is away, and tells what happened since the backup. Put all that were "
              "released since back into the folder audit."};
}

// KeepNumbersAway puts the numbers that may have been given since the backup out of
// reach, where no log tells which those were.
void KeepNumbersAway(Transaction& transaction) {
  constexpr uint32_t kMostGiven = 1 << 16;
  const auto keys = transaction.next().keys;
  for (const auto& [id, key] : keys) {
    if (key->usage() != KeyUsage::kEncryptDecrypt) continue;
    KeyRecord ahead = *key;
    ahead.lost_version = key->NextVersion() - 1 + kMostGiven;
    transaction.PutKey(std::move(ahead));
  }
}

Result<std::unique_ptr<AuditLog>> OpenWhole(const std::string& folder, SecretBytes key,
                                            const AuditHead& at_least,
                                            const Clock& clock) {
  KF_ASSIGN_OR_RETURN(auto log, AuditLog::Open(folder, std::move(key), clock));
  KF_ASSIGN_OR_RETURN(const AuditHead released, LastRelease(*log));
  KF_RETURN_IF_ERROR(log->Verify(at_least, released).status());
  if (log->head().sequence > at_least.sequence && released.sequence > at_least.sequence)
    KF_RETURN_IF_ERROR(CheckGoesOn(*log, at_least));
  return log;
}

// OpenLog opens the log that the restored store goes on with.
Result<std::unique_ptr<AuditLog>> OpenLog(const Catalog& catalog,
                                          const RestoreOptions& options,
                                          const Clock& clock) {
  auto whole =
      OpenWhole(options.audit_folder, catalog.AuditKey(), catalog.sealed().head, clock);
  if (options.new_log.empty()) {
    if (whole.ok() || whole.status().error() == Error::kLocked) return whole;
    return Status(Error::kCorrupt,
                  whole.status().message() +
                      " Put the newest copy of the store's folder audit in place. If "
                      "there is none, --new-audit-log begins a new log, and nothing "
                      "will tell what happened to keys after the backup.");
  }
  if (whole.ok())
    return Status(Error::kUsage, "The audit log is whole. Leave out --new-audit-log.");
  return AuditLog::Open(options.new_log, catalog.AuditKey(), clock);
}

// NextCommit numbers the restore's commit. Behind a former store that is of use it is
// the next one, however many restores were cut off before: their records then tell of
// a commit that was lost, not of a store put back.
uint64_t NextCommit(const std::vector<json>& later, uint64_t of_backup,
                    std::unique_ptr<KeyStore> former, const RootSecrets& secrets) {
  const uint64_t last = LastCommit(later, of_backup);
  if (!former) return last + 1;
  const auto catalog = Catalog::Load(std::move(former), secrets);
  if (!catalog.ok()) return last + 1;
  const uint64_t present = (*catalog)->state()->sequence;
  return present + 1 >= last ? std::max(present, of_backup) + 1 : last + 1;
}

json RecordOf(const Recorder& recorder, const RestoreOptions& options,
              const policy::Principal& who, const Restored& restored,
              const AuditHead& sealed) {
  json record =
      recorder.BaseTree(options.caller, who, "store.keyfold", "RestoreKeyStore", false);
  record["additionalEventData"] = {{kKeyStoreSequence, restored.sequence},
                                   {"backupCreated", restored.created},
                                   {"backupSequence", restored.backup_sequence},
                                   {"doneAgain", Lines(restored.replayed.done)},
                                   {"toLookAt", Lines(restored.replayed.open)}};
  if (!options.new_log.empty())
    record["additionalEventData"]["auditLogLost"] = {
        {"sealedSequence", sealed.sequence}, {"sealedHash", sealed.hash}};
  return record;
}

Result<Restored> Restore(std::unique_ptr<KeyStore> store, const RootKey& root,
                         ByteView backup, RestoreOptions options, const Clock& clock) {
  const RootSecrets secrets(root);
  KF_ASSIGN_OR_RETURN(const BackupDescription description, DescribeBackup(backup));
  KF_ASSIGN_OR_RETURN(const std::vector<Change> rows,
                      OpenBackup(secrets.backup, backup));
  KF_RETURN_IF_ERROR(store->Commit(rows));
  if (options.former) KF_RETURN_IF_ERROR(store->RaiseFormat(options.former->format()));
  KF_ASSIGN_OR_RETURN(const auto catalog, Catalog::Load(std::move(store), secrets));
  const auto state = catalog->state();
  KF_RETURN_IF_ERROR(CheckMetadataKey(secrets, *state, options));
  const AuditHead sealed = catalog->sealed().head;
  DigestHead digest;
  KF_ASSIGN_OR_RETURN(const auto log, OpenLog(*catalog, options, clock));
  std::vector<json> later;
  if (options.new_log.empty()) {
    AuditFilter filter;
    filter.after_sequence = sealed.sequence;
    KF_ASSIGN_OR_RETURN(later, log->ReadAll(filter));
    digest = LastDigest(later, catalog->sealed().digest);
  }

  Restored out;
  out.account = catalog->account();
  out.created = description.created;
  out.backup_sequence = state->sequence;
  Transaction transaction(*state);
  out.sequence = NextCommit(later, state->sequence, std::move(options.former), secrets);
  transaction.SkipTo(out.sequence);
  if (!options.new_log.empty()) {
    // A log that begins again has no archives of the former one.
    transaction.PutReleased(AuditHead{});
    KeepNumbersAway(transaction);
  }
  // A token that was used since must not be good again.
  for (const auto& [id, import] : state->imports) transaction.RemoveImport(id);
  out.replayed = ReplayChanges(later, out.account, transaction);
  out.keys = transaction.next().keys.size();
  if (options.check_only) return out;

  Identity identity;
  identity.set_root_uid(out.account.root_uid);
  KF_ASSIGN_OR_RETURN(const policy::Principal who,
                      identity.Resolve(options.caller, *state->iam));
  AlertEngine alerts([&](std::string_view id) { return state->AliasesOf(id); });
  alerts.Use(*state->alert_rules.rules);
  Recorder recorder(*log, out.account, clock, alerts);
  KF_RETURN_IF_ERROR(recorder.Append(RecordOf(recorder, options, who, out, sealed),
                                     AuditRoom::kReserved));
  const AuditHead head = log->head();
  KF_RETURN_IF_ERROR(log->Sync());
  KF_RETURN_IF_ERROR(catalog->Commit(std::move(transaction), {head, digest}));
  return out;
}

}  // namespace

Result<Restored> RestoreKeyStore(std::unique_ptr<KeyStore> store, const RootKey& root,
                                 ByteView backup, RestoreOptions options,
                                 const Clock& clock) {
  try {
    return Restore(std::move(store), root, backup, std::move(options), clock);
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The backup could not be restored.");
  }
}

}  // namespace keyfold
