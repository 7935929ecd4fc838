// Temporary credentials of roles, as AWS STS gives them.
#include "kms/service/Operations.h"
#include "kms/service/Session.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr int64_t kShortest = 900, kLongest = 43200, kUsual = 3600;  // seconds
constexpr size_t kIdBytes = 10;

// RoleName reads "role:NAME" or the role's ARN; empty for anything else.
std::string RoleName(const std::string& given, const std::string& account) {
  for (const std::string& prefix : {std::string("role:"), policy::RoleArn(account, "")})
    if (given.starts_with(prefix)) return given.substr(prefix.size());
  return {};
}

Status CheckSessionName(const std::string& name) {
  constexpr std::string_view kOthers = "+=,.@-_";
  const bool good = name.size() >= 2 && name.size() <= 64 &&
                    std::all_of(name.begin(), name.end(), [&](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') ||
                             kOthers.find(c) != std::string_view::npos;
                    });
  if (good) return OkStatus();
  return {Error::kValidation,
          "1 validation error detected: 'roleSessionName' must have 2 to 64 letters, "
          "digits or +=,.@-_"};
}

}  // namespace

Answer AssumeRole(Invocation& call) {
  const Parameters& p = call.parameters;
  const int64_t seconds = p.Integer("DurationSeconds").value_or(kUsual);
  Session session;
  session.role = RoleName(p.String("RoleArn"), call.account.id);
  session.user = call.principal.user_name;
  session.uid = call.caller.uid;
  if (session.user.starts_with("uid:"))
    return Status(Error::kValidation,
                  "Only a user with a Unix name can assume a role.");
  session.name = p.String("RoleSessionName", session.user);
  KF_RETURN_IF_ERROR(CheckSessionName(session.name));
  const std::string arn = policy::RoleArn(call.account.id, session.role);
  policy::Principal role;
  if (call.IsDenied("sts:AssumeRole", arn) ||
      !call.state->iam->AssumeRole(session.role, call.principal, &role))
    return AccessDenied(call.principal, "sts:AssumeRole", arn);
  session.access_key_id = "ASIA" + ToBase32(RandomBytes(kIdBytes));
  session.expires = call.now + std::chrono::seconds(seconds);
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  const SecretBytes secret = SessionSecret(*secrets, session.access_key_id);
  Bytes text = RevealSecret(secret);
  json answer = {{"Credentials",
                  {{"AccessKeyId", session.access_key_id},
                   {"SecretAccessKey", std::string(text.begin(), text.end())},
                   {"SessionToken", SealSession(*secrets, session)},
                   {"Expiration", WireTime(session.expires)}}},
                 {"AssumedRoleUser",
                  {{"AssumedRoleId", session.access_key_id + ":" + session.name},
                   {"Arn", "arn:aws:sts::" + call.account.id + ":assumed-role/" +
                               session.role + "/" + session.name}}}};
  explicit_bzero(text.data(), text.size());
  return answer;
}

}  // namespace keyfold
