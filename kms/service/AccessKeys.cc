// Access keys, with which a user's programs sign requests to the endpoint. Nobody
// makes one for somebody else: whoever has the secret is that user.
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMostOfOneUser = 2;  // as AWS IAM
constexpr size_t kIdBytes = 10;       // 16 characters of base32
constexpr size_t kSecretBytes = 30;   // 40 characters of base64

const char* StatusName(bool active) { return active ? "Active" : "Inactive"; }

std::string OwnName(const Invocation& call) {
  const std::string& name = call.principal.user_name;
  const bool user = policy::PrincipalKind(call.principal.arn) == "user";
  return user && !name.starts_with("uid:") ? name : std::string();
}

// AuthorizeOn lets everybody at what is their own, unless it is denied, others by the
// right.
Status AuthorizeOn(const Invocation& call, const std::string& user) {
  const std::string arn = policy::UserArn(call.account.id, user);
  if (!user.empty() && user == OwnName(call) && !call.IsDenied(call.Action(), arn))
    return OkStatus();
  return call.AuthorizeOnAccount(call.Action(), arn);
}

// FindKey authorizes the call for the key's user. Whoever may not know whether there
// is such a key is told the same either way.
Result<AccessKeyRecord> FindKey(const Invocation& call) {
  const std::string id = call.parameters.String("AccessKeyId");
  const auto it = call.state->access_keys.find(id);
  const std::string user = it == call.state->access_keys.end() ? "*" : it->second.user;
  if (!AuthorizeOn(call, user).ok())
    return AccessDenied(call.principal, call.Action(), id);
  if (it != call.state->access_keys.end()) return it->second;
  return Status(Error::kNoSuchEntity,
                "The Access Key with id " + id + " cannot be found.");
}

}  // namespace

Answer CreateAccessKey(Invocation& call) {
  AccessKeyRecord key;
  key.user = OwnName(call);
  key.uid = call.caller.uid;
  if (key.user.empty())
    return Status(Error::kValidation,
                  "Only a user with a Unix name can have access keys; a role gives "
                  "temporary credentials: keyfold iam assume-role.");
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), call.principal.arn));
  size_t count = 0;
  for (const auto& [id, other] : call.state->access_keys)
    count += other.user == key.user ? 1 : 0;
  if (count >= kMostOfOneUser)
    return Status(Error::kLimitExceeded,
                  "A user has at most 2 access keys. Delete one first: keyfold iam "
                  "delete-access-key.");
  key.id = "AKIA" + ToBase32(RandomBytes(kIdBytes));
  key.created = call.now;
  const SecretBytes secret = SecretText(RandomSecret(kSecretBytes));
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  key.sealed_secret = SealAccessKey(*secrets, key, secret);
  // It crosses once, in this answer.
  Bytes text = RevealSecret(secret);
  json answer = {{"AccessKey",
                  {{"UserName", key.user},
                   {"AccessKeyId", key.id},
                   {"Status", StatusName(key.active)},
                   {"SecretAccessKey", std::string(text.begin(), text.end())},
                   {"CreateDate", WireTime(key.created)}}}};
  explicit_bzero(text.data(), text.size());
  call.Change().PutAccessKey(std::move(key));
  return answer;
}

Answer ListAccessKeys(Invocation& call) {
  const std::string user = call.parameters.String("UserName", OwnName(call));
  KF_RETURN_IF_ERROR(AuthorizeOn(call, user));
  json items = json::array();
  for (const auto& [id, key] : call.state->access_keys)
    if (key.user == user)
      items.push_back({{"UserName", key.user},
                       {"AccessKeyId", id},
                       {"Status", StatusName(key.active)},
                       {"CreateDate", WireTime(key.created)}});
  return json{{"AccessKeyMetadata", std::move(items)}, {"IsTruncated", false}};
}

Answer UpdateAccessKey(Invocation& call) {
  const std::string status = call.parameters.String("Status");
  KF_ASSIGN_OR_RETURN(AccessKeyRecord key, FindKey(call));
  if (key.active == (status == "Active")) return json::object();
  key.active = status == "Active";
  // What an administrator disabled is not for its user to enable.
  if (key.active)
    KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(
        call.Action(), policy::UserArn(call.account.id, key.user)));
  call.Change().PutAccessKey(std::move(key));
  return json::object();
}

Answer DeleteAccessKey(Invocation& call) {
  KF_ASSIGN_OR_RETURN(const AccessKeyRecord key, FindKey(call));
  call.Change().RemoveAccessKey(key.id);
  return json::object();
}

}  // namespace keyfold
