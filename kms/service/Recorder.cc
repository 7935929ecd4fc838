#include "kms/service/Recorder.h"

#include <cerrno>

#include "kms/service/Limits.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kLongestMessage = 2048;  // a record must fit a line of the log

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

std::string TextOf(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

RefusedCall RefusalOf(const json& record) {
  RefusedCall refusal;
  const json& who = record["userIdentity"];
  refusal.uid = who.value("uid", kUnknownUid);
  refusal.request_id = TextOf(record, "requestID");
  refusal.operation = TextOf(record, "eventName");
  refusal.principal = TextOf(who, "arn");
  refusal.user_name = TextOf(who, "userName");
  refusal.error = TextOf(record, "errorCode");
  refusal.message = TextOf(record, "errorMessage");
  for (const json& resource : record.value("resources", json::array())) {
    const std::string arn = TextOf(resource, "ARN");
    if (refusal.key_id.empty() && !arn.empty())
      refusal.key_id = arn.substr(arn.rfind('/') + 1);
    if (refusal.path.empty()) refusal.path = TextOf(resource, "path");
  }
  return refusal;
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
  const std::string executable =
      caller.executable.empty() ? Executable(caller.pid) : caller.executable;
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
  if (outcome.ok() && !call.event_data.empty())
    record["additionalEventData"] = call.event_data;
  AddOutcome(record, outcome);
  return record;
}

namespace {

// ForCaller says why a call is refused, and what can be done about it.
Status ForCaller(const Status& written) {
  if (written.error() != Error::kSystem) return written;
  const bool full = written.sys_errno() == ENOSPC || written.sys_errno() == EDQUOT;
  return Status::FromErrno(
      written.sys_errno(),
      std::string("Refused, because the audit log cannot be written (") +
          (full ? "make room on the store's disk" : "see the daemon's log") + ")");
}

}  // namespace

Status Recorder::Append(const json& record, AuditRoom room) {
  TellRefusal(record);  // also one that the log can't take
  KF_RETURN_IF_ERROR(ForCaller(log_.Append(record, room)));
  Judge(record);
  return OkStatus();
}

// What became of alerts is told by who delivers them.
void Recorder::TellRefusal(const json& record) {
  if (!record.contains("errorCode") || record["eventSource"] == kAlertSource) return;
  try {
    const std::lock_guard lock(sink_mutex_);
    if (refusal_sink_) refusal_sink_(RefusalOf(record));
  } catch (const std::exception&) {  // memory: it is on record
  }
}

void Recorder::Judge(const json& record) {
  try {
    if (MayRaise(record)) RaiseAlerts(record);
  } catch (const std::exception&) {  // memory: what is on record stays done
  }
}

Status Recorder::AppendUse(const JsonText& record, const Status& outcome) {
  if (outcome.ok() && !alerts_.WatchesUses())
    return ForCaller(log_.Append(record, AuditRoom::kOrdinary));
  json told = json::parse(record.Object());
  AddOutcome(told, outcome);
  return Append(told);
}

// Most records are of uses that went well.
bool Recorder::MayRaise(const json& record) const {
  return record.contains("errorCode") || SequenceIn(record, kKeyStoreSequence) ||
         record.value("eventSource", std::string()) == kComplianceSource ||
         alerts_.WatchesUses();
}

void Recorder::RaiseAlerts(const json& record) {
  if (record.contains("errorCode")) urgent_ = true;
  for (AlertEngine::Raised& raised : alerts_.Judge(record, clock_.Now()))
    Raise(record, std::move(raised));
}

void Recorder::Raise(const json& cause, AlertEngine::Raised raised) {
  const std::string message = raised.message.substr(0, kLongestMessage);
  json alert = {
      {"userIdentity", cause["userIdentity"]},
      {"eventSource", kAlertSource},
      {"eventName", raised.name},
      {"awsRegion", account_.region},
      {"sourceIPAddress", cause["sourceIPAddress"]},
      {"requestID", cause["requestID"]},
      {"readOnly", true},
      {"requestParameters", {{"cause", cause["eventName"]}, {"message", message}}},
      {"resources", cause["resources"]}};
  // The record that caused it is written; losing the alert must not undo that.
  (void)log_.Append(std::move(alert), AuditRoom::kReserved);
  const std::lock_guard lock(sink_mutex_);
  if (!sink_) return;
  const std::string resources = ResourcesOf(cause);
  sink_(
      {raised.name,
       raised.name + ": " + message + (resources.empty() ? "" : " (" + resources + ")"),
       cause.dump(-1, ' ', false, json::error_handler_t::replace),
       std::move(raised.actions)});
}

}  // namespace keyfold
