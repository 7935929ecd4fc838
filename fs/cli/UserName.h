#pragma once

#include <sys/types.h>

#include <string>

namespace keyfold {

// UserName is what people call a user; "user 4711" for one without a name.
std::string UserName(uid_t uid);

}  // namespace keyfold
