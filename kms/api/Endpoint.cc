#include "kms/api/Endpoint.h"

#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr std::string_view kService = "kms";
constexpr size_t kLongestId = 128;  // of an access key, in records

std::optional<Target> TargetOf(const HttpRequest& request) {
  const std::string* header = request.Header("x-amz-target");
  return header == nullptr ? std::nullopt : ParseTarget(*header);
}

Reply UnknownOperation() {
  return ErrorReply("UnknownOperationException", "There is no operation of this name.");
}

// A part of the audit log takes ten times its size until it is text.
bool IsLargeAnswer(const Target& target) {
  return target.service == "audit" && target.operation == "LookupEvents";
}

// A document of IAM can be as large as a body, and takes long to read.
bool IsLargeDocument(const Target& target) {
  return target.service == "iam" && target.operation == "ApplyIam";
}

}  // namespace

// IsRoot tells who is not to wait for others, so as to be able to act.
bool Endpoint::IsRoot(const Caller& caller) const {
  return caller.role.empty() &&
         (caller.uid == 0 || caller.uid == kms_.account().root_uid);
}

Reply Endpoint::Call(const Caller& caller, const Target& target,
                     const HttpRequest& request) {
  const auto body = ParseRequest(request.body);
  if (!body)
    return ErrorReply("SerializationException", "The body is not a JSON object.");
  const Turn turn(IsLargeAnswer(target)                        ? &large_answers_
                  : IsLargeDocument(target) && !IsRoot(caller) ? &large_documents_
                                                               : nullptr);
  auto answer = kms_.Call(caller, target.service, target.operation, *body);
  if (answer.ok() && target.service == "store" && target.operation == "GetStatus")
    answer->update(status_());
  Reply reply = answer.ok() ? SuccessReply(*answer) : ErrorReply(answer.status());
  reply.request_id = caller.request_id;
  return reply;
}

Reply Endpoint::Serve(const Caller& peer, const HttpRequest& request) {
  const auto target = TargetOf(request);
  if (!target) return UnknownOperation();
  Caller caller = peer;
  caller.request_id = RandomUuid();
  return Call(caller, *target, request);
}

// Authenticate puts who signed into `caller`.
Status Endpoint::Authenticate(const HttpRequest& request, Caller* caller) {
  KF_ASSIGN_OR_RETURN(const Authorization authorization, ParseAuthorization(request));
  caller->access_key_id = authorization.access_key_id.substr(0, kLongestId);
  KF_ASSIGN_OR_RETURN(
      Credential credential,
      kms_.FindCredential(authorization.access_key_id, authorization.session_token));
  const TimePoint now = clock_.Now();
  KF_RETURN_IF_ERROR(CheckScope(authorization, kms_.account().region, kService, now));
  KF_RETURN_IF_ERROR(CheckSignature(authorization, request, credential.secret));
  KF_RETURN_IF_ERROR(
      replays_.Admit(std::to_string(credential.caller.uid), authorization, now));
  credential.caller.client_uid = caller->uid;
  credential.caller.source = std::move(caller->source);
  credential.caller.request_id = std::move(caller->request_id);
  *caller = std::move(credential.caller);
  return OkStatus();
}

Reply Endpoint::ServeSigned(const Caller& peer, const HttpRequest& request) {
  Caller caller = peer;
  caller.request_id = RandomUuid();
  const Status authentic = Authenticate(request, &caller);
  if (!authentic.ok()) {
    kms_.RecordRefusal(caller, authentic);
    Reply reply = ErrorReply(authentic);
    reply.request_id = caller.request_id;
    return reply;
  }
  const auto target = TargetOf(request);
  if (target && target->service == kService) return Call(caller, *target, request);
  // The services of Keyfold's own are not for whoever has an access key.
  kms_.RecordRefusal(caller, {Error::kUnsupportedOperation,
                              "Only operations of the KMS are answered here."});
  Reply reply = UnknownOperation();
  reply.request_id = caller.request_id;
  return reply;
}

}  // namespace keyfold
