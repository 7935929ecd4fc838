#include "kms/service/Service.h"

#include <new>
#include <set>
#include <vector>

#include "kms/service/Compliance.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr auto kSealInterval = std::chrono::minutes(1);
constexpr auto kComplianceInterval = std::chrono::minutes(1);
constexpr size_t kLongestReason = 2048, kMostChangesTold = 20;
constexpr size_t kMostFollowers = 10000;
constexpr auto kSyncInterval = std::chrono::seconds(5);

Caller ServiceCaller() {
  Caller keyfold;
  keyfold.is_service = true;
  return keyfold;
}

}  // namespace

Status Kms::Create(KeyStore& store, const RootKey& root, const Account& account,
                   const Clock& clock) {
  const RootSecrets secrets(root);
  KeyRecord key = MakeKey(KeySpec::kSymmetricDefault, Origin::kAwsKms, KeyManager::kAws,
                          clock.Now());
  AddVersion(secrets, key, "", clock.Now());
  key.description = "Default key that protects files when no other key is chosen";
  key.policy_text = ServiceKeyPolicy(account.id);
  Transaction transaction{State{}};
  transaction.PutAlias(
      {std::string(kServiceKeyAlias), key.id, key.created, key.created});
  transaction.PutKey(std::move(key));
  transaction.PutDigestKey(MakeDigestKey(secrets, clock.Now()));
  transaction.PutIam("# No users yet: keyfold iam apply FILE\n{}\n", {}, account.id);
  return Catalog::Fill(store, secrets, account, std::move(transaction));
}

Result<std::unique_ptr<Kms>> Kms::Open(std::unique_ptr<KeyStore> store, RootKey root,
                                       const std::string& audit_folder,
                                       const Clock& clock) {
  KF_ASSIGN_OR_RETURN(std::unique_ptr<Service> service,
                      Service::Open(std::move(store), root, audit_folder, clock));
  return std::unique_ptr<Kms>(std::move(service));
}

Result<std::unique_ptr<Service>> Service::Open(std::unique_ptr<KeyStore> store,
                                               const RootKey& root,
                                               const std::string& audit_folder,
                                               const Clock& clock) {
  std::unique_ptr<Service> service(new Service(root, clock));
  KF_ASSIGN_OR_RETURN(const auto secrets, service->root_keys_.Use());
  KF_ASSIGN_OR_RETURN(service->catalog_, Catalog::Load(std::move(store), *secrets));
  service->identity_.set_root_uid(service->account().root_uid);
  KF_ASSIGN_OR_RETURN(
      service->audit_,
      AuditLog::Open(audit_folder, service->catalog_->AuditKey(), clock));
  Service* raw = service.get();
  const auto state = service->catalog_->state();
  service->alerts_ = std::make_unique<AlertEngine>(
      [raw](std::string_view id) { return raw->catalog_->state()->AliasesOf(id); });
  service->alerts_->Use(*state->alert_rules.rules);
  service->activity_ = std::make_unique<ActivityLog>(
      state->activity.value_or(Activity{clock.Now(), {}, {}}));
  service->recorder_ = std::make_unique<Recorder>(*service->audit_, service->account(),
                                                  clock, *service->alerts_);
  service->log_keeper_ = std::make_unique<LogKeeper>(
      *service->audit_, service->account(), clock,
      [raw](std::string_view event) { return raw->OwnRecord("audit.keyfold", event); });
  KF_RETURN_IF_ERROR(service->CheckAgainstLog());
  KF_RETURN_IF_ERROR(service->BeginDigests(*secrets));
  service->accepted_ = true;
  KF_RETURN_IF_ERROR(service->Tick());
  return service;
}

Service::~Service() {
  // What was refused stays as it is, to be refused again.
  if (!accepted_) return;
  // A last commit seals and signs the log's end, so that nothing can be cut off
  // unnoticed.
  std::lock_guard lock(write_mutex_);
  Transaction last(*catalog_->state());
  activity_->Forget(last.next());
  if (activity_->TakeChanged()) last.PutActivity(activity_->known());
  (void)CommitSigned(OwnRecord("store.keyfold", "CloseStore"), std::move(last));
}

// The record of a commit is written before the commit, so when the power failed
// in between the log is one ahead. Two ahead means that the store is an older
// copy. Tick's seals follow every commit, so that one copied before the last
// change is two behind within a second or so.
Status Service::CheckAgainstLog() {
  const AuditHead sealed = catalog_->sealed().head;
  const AuditHead head = audit_->head();
  if (head.sequence < sealed.sequence)
    return {Error::kCorrupt, "The audit log lacks records: it ends at " +
                                 std::to_string(head.sequence) + ", and " +
                                 std::to_string(sealed.sequence) +
                                 " were written. Restore it from a copy."};
  AuditFilter later;
  later.after_sequence = sealed.sequence;
  const auto records = audit_->ReadAll(later);
  if (!records.ok()) {
    // The walk of the whole chain names the record that is damaged.
    KF_RETURN_IF_ERROR(audit_->Verify(sealed, catalog_->state()->released).status());
    return records.status();
  }
  last_digest_ = LastDigest(*records, catalog_->sealed().digest);
  const uint64_t next = catalog_->state()->sequence + 1;
  bool lost = false;
  for (const json& record : *records) {
    const auto sequence = SequenceIn(record, kKeyStoreSequence);
    if (sequence && *sequence > next)
      return {Error::kCorrupt,
              "The key store is older than the audit log: a copy of an earlier time "
              "was put "
              "in its place. Restore the newest copy of both."};
    if (sequence) lost = *sequence == next;
    if (SequenceIn(record, kKeyStoreSequenceFailed) == next) lost = false;
  }
  if (!lost) return OkStatus();
  json record = OwnRecord("store.keyfold", "RecoverKeyStore");
  record["additionalEventData"] = {{kKeyStoreSequenceFailed, next}};
  KF_RETURN_IF_ERROR(recorder_->Append(std::move(record), AuditRoom::kReserved));
  return audit_->Sync();
}

// A run that was killed left records that no digest signs; a store of old has no key to
// sign with.
Status Service::BeginDigests(const RootSecrets& secrets) {
  std::lock_guard lock(write_mutex_);
  Transaction transaction(*catalog_->state());
  const bool fresh = !transaction.next().digest_key;
  if (fresh) transaction.PutDigestKey(MakeDigestKey(secrets, clock_.Now()));
  KF_RETURN_IF_ERROR(
      log_keeper_->Begin(secrets, *transaction.next().digest_key, last_digest_));
  if (!fresh && !log_keeper_->IsUnsigned()) return OkStatus();
  KF_RETURN_IF_ERROR(
      CommitSigned(OwnRecord("audit.keyfold", fresh ? "CreateDigestKey" : "SignDigest"),
                   std::move(transaction)));
  unsealed_ = false;
  return OkStatus();
}

json Service::OwnRecord(std::string_view source, std::string_view event) {
  const Caller keyfold = ServiceCaller();
  const auto state = catalog_->state();
  return recorder_->BaseTree(keyfold, *identity_.Resolve(keyfold, *state->iam), source,
                             event, false);
}

// Each sync makes the backing filesystem commit its journal, so what is only
// worth knowing waits a little.
Status Service::SyncIfDue() {
  const auto now = std::chrono::steady_clock::now();
  {
    std::lock_guard lock(write_mutex_);
    if (!recorder_->TakeUrgent() && now - synced_at_ < kSyncInterval) return OkStatus();
    synced_at_ = now;
  }
  return audit_->Sync();
}

Status Service::SealIfDue() {
  const auto now = std::chrono::steady_clock::now();
  const bool idle = audit_->head().sequence == catalog_->sealed().head.sequence;
  const bool hour_over = log_keeper_->IsDigestDue();
  if (!unsealed_ && !hour_over && (idle || now - sealed_at_ < kSealInterval))
    return OkStatus();
  Transaction nothing(*catalog_->state());
  KF_RETURN_IF_ERROR(hour_over ? CommitSigned(OwnRecord("audit.keyfold", "SignDigest"),
                                              std::move(nothing))
                               : CommitRecorded(OwnRecord("store.keyfold", "SealStore"),
                                                std::move(nothing)));
  unsealed_ = false;
  sealed_at_ = now;
  return OkStatus();
}

void Service::RecordUndelivered(const std::string& alert, const std::string& target,
                                const Status& why) {
  try {
    json record = OwnRecord(kAlertSource, "DeliverAlert");
    record["requestParameters"] = {{"alert", alert}, {"target", target}};
    record["errorCode"] = "AlertNotDelivered";
    record["errorMessage"] = why.message().substr(0, kLongestReason);
    // There is nobody else to tell.
    (void)recorder_->Append(record, AuditRoom::kReserved);
  } catch (const std::exception&) {
  }
}

void Service::RecordReload(const Status& outcome) {
  try {
    json record = OwnRecord("store.keyfold", "ReloadSettings");
    Recorder::AddOutcome(record, outcome);
    (void)recorder_->Append(record, AuditRoom::kReserved);
  } catch (const std::exception&) {  // as above
  }
}

Status Service::CheckComplianceIfDue() {
  const auto now = std::chrono::steady_clock::now();
  if (!watches_compliance_ || now - compliance_at_ < kComplianceInterval)
    return OkStatus();
  compliance_at_ = now;
  const auto state = catalog_->state();
  activity_->Forget(*state);
  std::set<std::string> failing;
  std::vector<std::string> lines;
  for (const ComplianceFinding& finding :
       CheckCompliance(*state, account(), state->alert_rules.rules->compliance,
                       activity_->known(), clock_.Now())) {
    const std::string name = finding.Name();
    if (!finding.compliant) failing.insert(name);
    if (finding.compliant == state->non_compliant.contains(name))
      lines.push_back(name +
                      (finding.compliant ? " is COMPLIANT: " : " is NON_COMPLIANT: ") +
                      finding.reason);
  }
  // What is gone is in neither list, and no news.
  if (failing == state->non_compliant) return OkStatus();
  Transaction transaction(*state);
  transaction.PutCompliance(std::move(failing));
  transaction.PutActivity(activity_->known());
  json record = OwnRecord(kComplianceSource, "ComplianceChanged");
  std::string detail = std::to_string(lines.size()) + " changed";
  for (size_t i = 0; i < lines.size() && i < kMostChangesTold; ++i)
    detail += (i == 0 ? ": " : "; ") + lines[i];
  record["additionalEventData"]["detail"] = detail;
  return CommitRecorded(std::move(record), std::move(transaction));
}

void Service::NoteGrants(const policy::Principal& principal, std::string_view operation,
                         const std::string& key_id, const State& state) {
  for (const policy::Grant* grant : state.GrantsOf(key_id).HeldBy(principal))
    if (grant->operations.contains(std::string(operation)))
      activity_->NoteGrant(grant->id, clock_.Now());
}

Status Service::RotateIfDue() {
  if (!log_keeper_->IsRotationDue()) return OkStatus();
  return log_keeper_->Rotate();
}

Result<json> Service::Call(const Caller& caller, std::string_view service,
                           std::string_view operation, const json& request) {
  const Operation* known = FindOperation(service, operation);
  const DispatchEntry* entry = FindDispatch(service, operation);
  const Status unsupported(
      Error::kUnsupportedOperation,
      "The operation " + std::string(operation) + " is not supported.");
  if (known == nullptr) return unsupported;
  const auto began = std::chrono::steady_clock::now();
  try {
    // Of a call that is refused in any case, what it asks for is not recorded.
    auto parameters = entry == nullptr ? Result<Parameters>(unsupported)
                                       : Parameters::Check(*known, request);
    const auto state = catalog_->state();
    auto principal = identity_.Resolve(caller, *state->iam);
    Invocation call{*known,     account(),    root_keys_, *audit_, *log_keeper_,
                    *activity_, *catalog_,    identity_,  counts_, files_,
                    caller,     clock_.Now(), {},         {},      state};
    call.quotas = quotas_;
    call.principal = principal.ok() ? *principal : UnresolvedPrincipal(caller.uid);
    if (parameters.ok())
      call.parameters = *std::move(parameters);
    else if (entry != nullptr)
      RecordRequest(*entry, Parameters::OfRefused(*known, request), call);
    Result<json> answer = !principal.ok()    ? Result<json>(principal.status())
                          : !parameters.ok() ? Result<json>(parameters.status())
                          : entry->writes    ? RunWrite(*entry, call)
                                             : RunRead(*entry, call);
    Status recorded;
    if (!answer.ok())
      recorded = recorder_->Append(recorder_->CallRecord(
          call, nullptr, call.on_record.value_or(answer.status())));
    counts_.NoteCall(caller.uid, *known, answer.status().error(),
                     std::chrono::steady_clock::now() - began);
    if (!recorded.ok()) return recorded;
    return answer;
  } catch (const std::exception&) {
    return Status(Error::kInternal, "The request could not be served.");
  }
}

// RecordRequest lets the record of a call that asks for what cannot be tell what it
// asked for, and of which key.
void Service::RecordRequest(const DispatchEntry& entry, Parameters parameters,
                            Invocation& call) {
  call.parameters = std::move(parameters);
  if (entry.key_parameter == nullptr) return;
  const KeyRef key = keyfold::ResolveKey(
      *call.state, account(), call.parameters.String(entry.key_parameter), call.now);
  if (key) call.resources.push_back(KeyArn(account(), key->id));
}

Result<json> Service::Run(const DispatchEntry& entry, Invocation& call) {
  KF_RETURN_IF_ERROR(CheckGrantTokens(call.parameters));
  if (entry.key_parameter != nullptr) {
    KF_ASSIGN_OR_RETURN(
        call.key,
        call.FindKey(call.parameters.String(entry.key_parameter), call.Action()));
    KF_RETURN_IF_ERROR(CheckState(entry.rule, call.account, *call.key, call.now));
  }
  return entry.run(call);
}

Result<json> Service::RunRead(const DispatchEntry& entry, Invocation& call) {
  KF_ASSIGN_OR_RETURN(json answer, Run(entry, call));
  if (call.key && call.operation.service == "kms")
    NoteGrants(call.principal, call.operation.name, call.key->id, *call.state);
  for (const auto& [operation, key_id] : call.used)
    NoteGrants(call.principal, operation, key_id, *call.state);
  if (!IsFollowing(call, answer))
    KF_RETURN_IF_ERROR(
        call.operation.read_only
            ? recorder_->AppendUse(recorder_->CallText(call), OkStatus())
            : recorder_->Append(recorder_->CallRecord(call, &answer, OkStatus())));
  return answer;
}

// Whoever follows the log would make it grow by following, if each look had a
// record. A look that goes on where a recorded one of the same principal ended
// has none.
bool Service::IsFollowing(const Invocation& call, const json& answer) {
  const auto last = answer.find("LastSequence");
  if (last == answer.end()) return false;
  const auto after = call.parameters.Integer("AfterSequence");
  std::lock_guard lock(followers_mutex_);
  if (followers_.size() > kMostFollowers) followers_.clear();
  auto [it, fresh] = followers_.try_emplace(
      call.principal.arn + " " + std::string(call.operation.name), 0);
  const auto now = last->get<uint64_t>();
  const auto from = static_cast<uint64_t>(after.value_or(0));
  const bool follows = !fresh && after && from >= it->second && from <= now;
  it->second = now;
  return follows;
}

Result<json> Service::RunWrite(const DispatchEntry& entry, Invocation& call) {
  if (entry.prepare != nullptr) {
    // Refuse before the slow work what will be refused after it.
    if (entry.key_parameter != nullptr) {
      KF_ASSIGN_OR_RETURN(
          const KeyRef key,
          call.FindKey(call.parameters.String(entry.key_parameter), call.Action()));
      KF_RETURN_IF_ERROR(CheckState(entry.rule, call.account, *key, call.now));
    }
    KF_RETURN_IF_ERROR(entry.prepare(call));
    call.resources.clear();
  }
  Result<json> answer = json();
  {
    std::lock_guard lock(write_mutex_);
    const uint64_t iam = call.state->iam->number();
    call.state = catalog_->state();
    call.now = clock_.Now();
    // Nobody keeps a group or a role by what was begun before it was taken away.
    if (call.state->iam->number() != iam) {
      KF_ASSIGN_OR_RETURN(call.principal,
                          identity_.Resolve(call.caller, *call.state->iam));
    }
    answer = Run(entry, call);
    if (!answer.ok()) return answer;
    json record = recorder_->CallRecord(call, &*answer, OkStatus());
    if (!call.change) {
      KF_RETURN_IF_ERROR(recorder_->Append(std::move(record)));
      return answer;
    }
    KF_RETURN_IF_ERROR(CommitRecorded(std::move(record), *std::move(call.change)));
    Advance();
  }
  Notify();
  return answer;
}

Status Service::CommitRecorded(json record, Transaction transaction) {
  const uint64_t sequence = transaction.next().sequence;
  record["additionalEventData"][kKeyStoreSequence] = sequence;
  KF_RETURN_IF_ERROR(recorder_->Append(record, AuditRoom::kReserved));
  return CommitAppended(std::move(record), std::move(transaction));
}

Status Service::CommitSigned(json record, Transaction transaction) {
  record["additionalEventData"][kKeyStoreSequence] = transaction.next().sequence;
  KF_RETURN_IF_ERROR(log_keeper_->AppendSigned(record));
  recorder_->Judge(record);
  return CommitAppended(std::move(record), std::move(transaction));
}

Status Service::CommitAppended(json record, Transaction transaction) {
  const uint64_t sequence = transaction.next().sequence;
  // Only what is on disk may be sealed.
  const AuditHead head = audit_->head();
  KF_RETURN_IF_ERROR(audit_->Sync());
  const Status status = OrNoMemory([&] {
    return catalog_->Commit(std::move(transaction), {head, log_keeper_->last()});
  });
  if (status.ok()) {
    unsealed_ = true;
    return status;
  }
  record["additionalEventData"] = {{kKeyStoreSequenceFailed, sequence}};
  record["responseElements"] = nullptr;
  Recorder::AddOutcome(record, status);
  (void)recorder_->Append(std::move(record), AuditRoom::kReserved);
  (void)audit_->Sync();
  return status;
}

Status Service::TickKey(const KeyRecord& key, TimePoint now) {
  const ImportedMaterial* expired = key.FindExpired(now);
  // Due until the root key is back.
  const auto secrets = root_keys_.Use();
  const bool rotates = secrets.ok() && key.next_rotation && *key.next_rotation <= now &&
                       key.StateAt(now) == KeyState::kEnabled;
  if (!key.DueForDestruction(now) && expired == nullptr && !rotates) return OkStatus();
  const char* event = nullptr;
  json event_data = json::object();
  Transaction transaction(*catalog_->state());
  if (key.DueForDestruction(now)) {
    event = "DeleteKey";
    transaction.RemoveKey(key.id);
  } else if (expired != nullptr) {
    event = "DeleteExpiredKeyMaterial";
    KeyRecord without = key;
    without.DropMaterial(expired->version);
    transaction.PutKey(std::move(without));
    event_data["keyMaterialId"] = MaterialTag(key, *expired);
  } else {
    event = "RotateKey";
    KeyRecord rotated = key;
    AddVersion(**secrets, rotated, "AUTOMATIC", now);
    rotated.next_rotation = now + std::chrono::days(*key.rotation_period_days);
    event_data[kKeyMaterialVersion] = rotated.CurrentVersion();
    transaction.PutKey(std::move(rotated));
  }
  json record = OwnRecord("kms.amazonaws.com", event);
  record["requestParameters"] = nullptr;
  record["additionalEventData"] = std::move(event_data);
  recorder_->AddKey(record, KeyArn(account(), key.id));
  KF_RETURN_IF_ERROR(CommitRecorded(std::move(record), std::move(transaction)));
  Advance();
  return OkStatus();
}

Status Service::Tick() {
  const uint64_t before = generation_;
  try {
    Status status = OkStatus();
    {
      std::lock_guard lock(write_mutex_);
      const auto state = catalog_->state();
      const TimePoint now = clock_.Now();
      // One key's trouble does not keep the others waiting.
      for (const auto& [id, key] : state->keys)
        if (const Status one = TickKey(*key, now); !one.ok()) status = one;
      if (const Status checked = CheckComplianceIfDue(); !checked.ok())
        status = checked;
      if (const Status rotated = RotateIfDue(); !rotated.ok()) status = rotated;
      if (const Status sealed = SealIfDue(); !sealed.ok()) status = sealed;
    }
    const Status synced = SyncIfDue();
    if (generation_ != before || DependsOnTime()) Notify();
    return status.ok() ? synced : status;
  } catch (const std::bad_alloc&) {
    // What ended before that has ended.
    if (generation_ != before) Notify();
    throw;
  }
}

// A right may end without anybody changing anything when a policy looks at the
// clock: then open handles are examined with every tick.
bool Service::DependsOnTime() {
  const auto state = catalog_->state();
  std::lock_guard lock(write_mutex_);
  if (time_checked_ != state->sequence) {
    time_checked_ = state->sequence;
    constexpr std::string_view kClock = "aws:CurrentTime";
    depends_on_time_ = false;
    for (const auto& [name, document] : state->iam->iam().policies)
      depends_on_time_ |= policy::LooksAt(document, kClock);
    for (const auto& [id, key] : state->keys)
      depends_on_time_ |= policy::LooksAt(key->policy, kClock);
  }
  return depends_on_time_;
}

void Service::Advance() {
  ++generation_;
  const auto rules = catalog_->state()->alert_rules.rules;
  if (rules != used_rules_) alerts_->Use(*rules);
  used_rules_ = rules;
}

void Service::SetChangeListener(std::function<void()> listener) {
  std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
}

void Service::Notify() {
  std::function<void()> listener;
  {
    std::lock_guard lock(listener_mutex_);
    listener = listener_;
  }
  if (listener) listener();
}

}  // namespace keyfold
