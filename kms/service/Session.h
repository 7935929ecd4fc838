// Session: temporary credentials of an assumed role. The token holds what they are,
// sealed under the root key, so that nothing is kept for them.
//
// Owns: the token's form and the secret that goes with it. Must not know: who may
// assume what. Free functions, thread-safe.
#pragma once

#include <string>

#include "kms/base/Clock.h"
#include "kms/service/Material.h"

namespace keyfold {

struct Session {
  std::string access_key_id;  // "ASIA" and 16 letters and digits
  std::string user;           // Unix name of who assumed the role
  uid_t uid = 0;              // whose name it was
  std::string role;
  std::string name;  // as the user called it
  TimePoint expires;
};

std::string SealSession(const RootSecrets& secrets, const Session& session);
// OpenSession is kUnrecognizedClient for a token that is not of this access key id.
Result<Session> OpenSession(const RootSecrets& secrets,
                            const std::string& access_key_id, const std::string& token);
// SessionSecret is the text of the secret access key, 40 characters.
SecretBytes SessionSecret(const RootSecrets& secrets, const std::string& access_key_id);

Status UnrecognizedClient();

}  // namespace keyfold
