#include "kms/service/Session.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr std::string_view kTokenLabel = "keyfold session token v1";
constexpr std::string_view kSecretLabel = "keyfold session secret v1";
constexpr size_t kSecretBytes = 30;

Bytes TokenAad(const std::string& access_key_id) {
  ByteWriter out;
  out.Prefixed(kTokenLabel);
  out.Prefixed(access_key_id);
  return out.Take();
}

}  // namespace

Status UnrecognizedClient() {
  return {Error::kUnrecognizedClient,
          "The security token included in the request is invalid."};
}

std::string SealSession(const RootSecrets& secrets, const Session& session) {
  const std::string body = json{{"user", session.user},
                                {"uid", session.uid},
                                {"role", session.role},
                                {"name", session.name},
                                {"expires", Milliseconds(session.expires)}}
                               .dump();
  return ToBase64(
      SealBytes(secrets.sessions, TokenAad(session.access_key_id), AsBytes(body)));
}

Result<Session> OpenSession(const RootSecrets& secrets,
                            const std::string& access_key_id,
                            const std::string& token) {
  // A prefix longer than a length can tell aborts.
  if (access_key_id.size() > 128) return UnrecognizedClient();
  const auto sealed = FromBase64(token);
  if (!sealed) return UnrecognizedClient();
  const auto body = OpenBytes(secrets.sessions, TokenAad(access_key_id), *sealed);
  if (!body.ok()) return UnrecognizedClient();
  const json value = json::parse(AsText(*body), nullptr, false);
  if (!value.is_object()) return UnrecognizedClient();
  return Session{
      access_key_id,
      value.value("user", ""),
      value.value("uid", uid_t{0}),
      value.value("role", ""),
      value.value("name", ""),
      TimePoint(std::chrono::milliseconds(value.value("expires", int64_t{0})))};
}

SecretBytes SessionSecret(const RootSecrets& secrets,
                          const std::string& access_key_id) {
  const SecretBytes raw = Hkdf(secrets.session_secrets, AsBytes(access_key_id),
                               AsBytes(kSecretLabel), kSecretBytes);
  return SecretText(raw);
}

}  // namespace keyfold
