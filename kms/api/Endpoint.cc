#include "kms/api/Endpoint.h"

namespace keyfold {
namespace {

constexpr std::string_view kService = "kms";

std::optional<Target> TargetOf(const HttpRequest& request) {
  const std::string* header = request.Header("x-amz-target");
  return header == nullptr ? std::nullopt : ParseTarget(*header);
}

Reply UnknownOperation() {
  return ErrorReply("UnknownOperationException", "There is no operation of this name.");
}

}  // namespace

Reply Endpoint::Call(const Caller& caller, const Target& target,
                     const HttpRequest& request) {
  const auto body = ParseRequest(request.body);
  if (!body)
    return ErrorReply("SerializationException", "The body is not a JSON object.");
  auto answer = kms_.Call(caller, target.service, target.operation, *body);
  if (!answer.ok()) return ErrorReply(answer.status());
  if (target.service == "store" && target.operation == "GetStatus")
    answer->update(status_());
  return SuccessReply(*answer);
}

Reply Endpoint::Serve(const Caller& caller, const HttpRequest& request) {
  const auto target = TargetOf(request);
  return target ? Call(caller, *target, request) : UnknownOperation();
}

Result<Caller> Endpoint::Authenticate(const Peer& peer, const HttpRequest& request) {
  auto authorization = ParseAuthorization(request);
  Status refused = authorization.status();
  if (refused.ok()) {
    const TimePoint now = clock_.Now();
    auto credential =
        kms_.FindCredential(authorization->access_key_id, authorization->session_token);
    refused = credential.status();
    if (refused.ok())
      refused = CheckScope(*authorization, kms_.account().region, kService, now);
    if (refused.ok())
      refused = CheckSignature(*authorization, request, credential->secret);
    if (refused.ok())
      refused =
          replays_.Admit(std::to_string(credential->caller.uid), *authorization, now);
    if (refused.ok()) {
      credential->caller.source = peer.address;
      return std::move(credential->caller);
    }
  }
  kms_.RecordRefusal(authorization.ok() ? authorization->access_key_id : std::string(),
                     peer.address, peer.uid, refused);
  return refused;
}

Reply Endpoint::ServeSigned(const Peer& peer, const HttpRequest& request) {
  const auto caller = Authenticate(peer, request);
  if (!caller.ok()) return ErrorReply(caller.status());
  const auto target = TargetOf(request);
  if (!target || target->service != kService) return UnknownOperation();
  return Call(*caller, *target, request);
}

}  // namespace keyfold
