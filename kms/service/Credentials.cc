// Who signs with an access key.
#include "kms/service/Service.h"
#include "kms/service/Session.h"

namespace keyfold {
namespace {

constexpr auto kBetweenRefusals = std::chrono::seconds(1);
constexpr size_t kMostRefusedTold = 4096;

}  // namespace

Result<Credential> Service::FindCredential(const std::string& access_key_id,
                                           const std::string& session_token) {
  Credential out;
  std::string user;
  uid_t uid = 0;
  if (session_token.empty()) {
    const auto state = catalog_->state();
    const auto it = state->access_keys.find(access_key_id);
    if (it == state->access_keys.end() || !it->second.active)
      return UnrecognizedClient();
    KF_ASSIGN_OR_RETURN(const auto secrets, root_keys_.Use());
    KF_ASSIGN_OR_RETURN(out.secret, OpenAccessKey(*secrets, it->second));
    user = it->second.user;
    uid = it->second.uid;
  } else {
    KF_ASSIGN_OR_RETURN(const auto secrets, root_keys_.Use());
    KF_ASSIGN_OR_RETURN(const Session session,
                        OpenSession(*secrets, access_key_id, session_token));
    if (session.expires <= clock_.Now())
      return Status(Error::kExpiredToken,
                    "The security token included in the request is expired");
    out.secret = SessionSecret(*secrets, access_key_id);
    out.caller.role = session.role;
    out.caller.session_name = session.name;
    user = session.user;
    uid = session.uid;
  }
  const auto caller = identity_.CallerNamed(user);
  // A name that was given to somebody else is another user.
  if (!caller || caller->uid != uid) return UnrecognizedClient();
  out.caller.uid = caller->uid;
  out.caller.gid = caller->gid;
  out.caller.groups = caller->groups;
  out.caller.access_key_id = access_key_id;
  return out;
}

void Service::RecordRefusal(const Caller& peer, const Status& reason) {
  counts_.NoteRefusedRequest();
  uint64_t missed = 0;
  {
    std::lock_guard lock(refusals_mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (refusals_.size() > kMostRefusedTold) refusals_.clear();
    Refusals& own = refusals_[peer.uid];
    if (own.count > 0 && now - own.recorded < kBetweenRefusals) {
      ++own.count;
      return;
    }
    own.recorded = now;
    missed = own.count > 0 ? own.count - 1 : 0;
    own.count = 1;
  }
  policy::Principal unknown;
  unknown.arn = unknown.user_name =
      peer.uid == kUnknownUid ? "unknown" : "uid:" + std::to_string(peer.uid);
  nlohmann::json record = recorder_->BaseTree(peer, unknown, "kms.amazonaws.com",
                                              "AuthenticateRequest", true);
  record["requestParameters"] = nullptr;
  if (missed > 0) record["additionalEventData"] = {{"refusalsNotRecorded", missed}};
  Recorder::AddOutcome(record, reason);
  // Nothing was done that a missing record could hide.
  (void)recorder_->Append(record);
}

}  // namespace keyfold
