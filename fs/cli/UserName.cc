#include "fs/cli/UserName.h"

#include <pwd.h>

namespace keyfold {

std::string UserName(uid_t uid) {
  const passwd* user = ::getpwuid(uid);
  return user != nullptr ? user->pw_name : "user " + std::to_string(uid);
}

}  // namespace keyfold
