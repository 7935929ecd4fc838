// Files that hold a secret: who may own and read them.
//
// Must not know: what the secret is for. Free functions, thread-safe.
#pragma once

#include <string>

#include "kms/base/Status.h"

namespace keyfold {

// CheckPrivateFile is kUsage unless the open file `fd`, called `path`, is a regular
// one, belongs to the caller or root, and is out of reach of group and others.
Status CheckPrivateFile(int fd, const std::string& path);

}  // namespace keyfold
