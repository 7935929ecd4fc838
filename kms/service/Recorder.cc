#include "kms/service/Recorder.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kManyRefusals = 10;
constexpr auto kRefusalWindow = std::chrono::minutes(1);
constexpr size_t kMostWatched = 10000;
constexpr size_t kLongestMessage = 2048;  // a record must fit a line of the log

// What raises an alert when it succeeds.
struct Rule {
  std::string_view event;
  const char* alert;
  const char* message;
};
constexpr Rule kRules[] = {
    {"DisableKey", "KeyDisabled", "disabled a key"},
    {"ScheduleKeyDeletion", "KeyDeletionScheduled", "scheduled a key's deletion"},
    {"DeleteImportedKeyMaterial", "KeyMaterialDeleted",
     "deleted imported key material"},
    {"PutKeyPolicy", "KeyPolicyChanged", "changed a key's policy"},
    {"ApplyIam", "IamChanged", "changed the account's users or policies"},
    {"RestoreKeyStore", "KeyStoreRestored", "put an earlier key store in place"},
    {"DeleteKey", "KeyDestroyed", "destroyed a key whose waiting period was over"},
};

const Rule* RuleFor(std::string_view event) {
  for (const Rule& rule : kRules)
    if (rule.event == event) return &rule;
  return nullptr;
}

// What a file's bytes can do: fail to authenticate, or belong to another key.
bool TellsOfDamage(const json& record) {
  const std::string error = record.value("errorCode", std::string());
  for (Error damage :
       {Error::kCorrupt, Error::kInvalidCiphertext, Error::kIncorrectKey})
    if (error == ErrorName(damage))
      return damage == Error::kCorrupt || record["eventSource"] == "fs.keyfold";
  return false;
}

// Changes are records that carry the number of their commit.
bool IsChange(const json& record) {
  const auto data = record.find("additionalEventData");
  return data != record.end() && data->contains(kKeyStoreSequence);
}

bool MayRaise(const json& record) {
  return record.contains("errorCode") ||
         (IsChange(record) &&
          RuleFor(record["eventName"].get_ref<const std::string&>()) != nullptr);
}

// Answers are recorded without what is secret or long.
json Recordable(const json& answer) {
  json out = json::object();
  for (const auto& [name, value] : answer.items())
    if (name != "Plaintext" && name != "CiphertextBlob" && name != "ImportToken" &&
        name != "PublicKey" && name != "GrantToken" && name != "Policy" &&
        name != "Document" && name != "AccessKey" && name != "Credentials")
      out[LowerCamel(name)] = value;
  // Of credentials, what they are called.
  for (const char* given : {"AccessKey", "Credentials"})
    if (const auto it = answer.find(given); it != answer.end())
      for (const char* name : {"UserName", "AccessKeyId", "Expiration"})
        if (it->contains(name)) out[LowerCamel(given)][LowerCamel(name)] = (*it)[name];
  return out;
}

std::string ResourcesOf(const json& record) {
  std::string text;
  for (const json& resource : record.value("resources", json::array()))
    text += (text.empty() ? "" : ", ") + resource.value("ARN", std::string());
  return text;
}

}  // namespace

std::optional<uint64_t> SequenceIn(const json& record, const char* name) {
  const auto data = record.find("additionalEventData");
  if (data == record.end() || !data->is_object()) return std::nullopt;
  const auto it = data->find(name);
  if (it == data->end() || !it->is_number_unsigned()) return std::nullopt;
  return it->get<uint64_t>();
}

JsonText Recorder::Base(const Caller& caller, const policy::Principal& principal,
                        std::string_view source, std::string_view event, bool read_only,
                        std::string_view invoked_by) const {
  const std::string uid = std::to_string(caller.uid);
  JsonText identity;
  identity
      .Add("type", principal.is_service        ? "AWSService"
                   : principal.is_account_root ? "Root"
                   : caller.role.empty()       ? "IAMUser"
                                               : "AssumedRole")
      .Add("principalId", uid)
      .Add("arn", principal.arn)
      .Add("accountId", account_.id)
      .Add("userName", principal.user_name)
      .AddJson("uid", uid)
      .AddJson("gid", std::to_string(caller.gid))
      .AddJson("pid", std::to_string(caller.pid));
  if (!caller.access_key_id.empty()) identity.Add("accessKeyId", caller.access_key_id);
  if (!caller.session_name.empty()) identity.Add("sessionName", caller.session_name);
  if (caller.client_uid && *caller.client_uid != caller.uid)
    identity.AddJson("clientUid", *caller.client_uid == kUnknownUid
                                      ? "null"
                                      : std::to_string(*caller.client_uid));
  const std::string executable = Executable(caller.pid);
  if (!executable.empty()) identity.Add("executable", executable);
  if (!invoked_by.empty()) identity.Add("invokedBy", invoked_by);
  JsonText record;
  record.AddJson("userIdentity", identity.Object())
      .Add("eventSource", source)
      .Add("eventName", event)
      .Add("awsRegion", account_.region)
      .Add("sourceIPAddress", caller.source)
      .Add("recipientAccountId", account_.id)
      .Add("requestID", caller.request_id.empty() ? RandomUuid() : caller.request_id)
      .Add("readOnly", read_only);
  return record;
}

json Recorder::BaseTree(const Caller& caller, const policy::Principal& principal,
                        std::string_view source, std::string_view event,
                        bool read_only) const {
  json record = json::parse(Base(caller, principal, source, event, read_only).Object());
  record["resources"] = json::array();
  return record;
}

void Recorder::AddKey(json& record, const std::string& key_arn) const {
  record["resources"].push_back(json::parse(KeyResource(key_arn)));
}

std::string Recorder::KeyResource(const std::string& key_arn) const {
  JsonText key;
  key.Add("ARN", key_arn).Add("accountId", account_.id).Add("type", "AWS::KMS::Key");
  return key.Object();
}

std::string Recorder::FileResource(const std::string& path) {
  JsonText file;
  file.Add("path", path).Add("type", "Keyfold::File");
  return file.Object();
}

void Recorder::AddOutcome(json& record, const Status& outcome) {
  if (outcome.ok()) return;
  record["errorCode"] = ErrorName(outcome.error());
  record["errorMessage"] = outcome.message().substr(0, kLongestMessage);
}

JsonText Recorder::CallText(const Invocation& call) const {
  const std::string source = call.operation.service == "kms"
                                 ? "kms.amazonaws.com"
                                 : std::string(call.operation.service) + ".keyfold";
  std::string resources, last;
  for (const std::string& arn : call.resources) {
    if (arn == last) continue;
    resources += (last.empty() ? "" : ",") + KeyResource(arn);
    last = arn;
  }
  JsonText record = Base(call.caller, call.principal, source, call.operation.name,
                         call.operation.read_only);
  record
      .AddJson("requestParameters",
               call.parameters.ForAudit(call.operation)
                   .dump(-1, ' ', false, json::error_handler_t::replace))
      .AddJson("responseElements", "null")
      .AddJson("resources", "[" + resources + "]");
  return record;
}

json Recorder::CallRecord(const Invocation& call, const json* answer,
                          const Status& outcome) const {
  json record = json::parse(CallText(call).Object());
  if (answer != nullptr && !call.operation.read_only && !answer->empty())
    record["responseElements"] = Recordable(*answer);
  AddOutcome(record, outcome);
  return record;
}

namespace {

Status ForCaller(const Status& written) {
  return written.error() == Error::kSystem
             ? Status::FromErrno(written.sys_errno(),
                                 "Refused, because the audit log cannot be written")
             : written;
}

}  // namespace

Status Recorder::Append(const json& record, AuditRoom room) {
  KF_RETURN_IF_ERROR(ForCaller(log_.Append(record, room)));
  if (MayRaise(record)) RaiseAlerts(record);
  return OkStatus();
}

Status Recorder::AppendUse(const JsonText& record, const Status& outcome) {
  if (outcome.ok()) return ForCaller(log_.Append(record, AuditRoom::kOrdinary));
  json told = json::parse(record.Object());
  AddOutcome(told, outcome);
  return Append(told);
}

bool Recorder::ManyRefusals(const std::string& arn) {
  const TimePoint now = clock_.Now();
  std::lock_guard lock(mutex_);
  if (refusals_.size() > kMostWatched) refusals_.clear();
  auto& times = refusals_[arn];
  while (!times.empty() && times.front() + kRefusalWindow < now) times.pop_front();
  times.push_back(now);
  if (times.size() < kManyRefusals) return false;
  times.clear();
  return true;
}

void Recorder::RaiseAlerts(const json& record) {
  const std::string event = record.value("eventName", std::string());
  const std::string error = record.value("errorCode", std::string());
  const std::string who = record["userIdentity"].value("userName", std::string());
  if (error.empty()) {
    if (const Rule* rule = RuleFor(event))
      Raise(record, rule->alert, who + " " + rule->message);
    return;
  }
  urgent_ = true;
  if (TellsOfDamage(record))
    Raise(record, "IntegrityFailure",
          event + ": " + record.value("errorMessage", std::string()));
  if ((error == ErrorName(Error::kAccessDenied) ||
       error == ErrorName(Error::kInvalidSignature)) &&
      ManyRefusals(record["userIdentity"].value("arn", std::string())))
    Raise(record, "ManyRefusals",
          who + " was refused " + std::to_string(kManyRefusals) +
              " times within a minute");
}

void Recorder::Raise(const json& cause, const char* name, const std::string& message) {
  json alert = {
      {"userIdentity", cause["userIdentity"]},
      {"eventSource", "alerts.keyfold"},
      {"eventName", name},
      {"awsRegion", account_.region},
      {"sourceIPAddress", cause["sourceIPAddress"]},
      {"requestID", cause["requestID"]},
      {"readOnly", true},
      {"requestParameters", {{"cause", cause["eventName"]}, {"message", message}}},
      {"resources", cause["resources"]}};
  // The record that caused it is written; losing the alert must not undo that.
  (void)log_.Append(std::move(alert), AuditRoom::kReserved);
  const std::string resources = ResourcesOf(cause);
  if (sink_)
    sink_(std::string(name) + ": " + message +
          (resources.empty() ? "" : " (" + resources + ")"));
}

}  // namespace keyfold
