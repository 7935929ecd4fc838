// Files that hold a secret, or belong to a store: whose they are, who may read them.
//
// Must not know: what the secret is for. Free functions, thread-safe.
#pragma once

#include <string>

#include "kms/base/Status.h"

namespace keyfold {

// CheckPrivateFile is kUsage unless the open file `fd`, called `path`, is a regular
// one, belongs to the caller or root, and is out of reach of group and others.
Status CheckPrivateFile(int fd, const std::string& path);

// GiveToOwnerOf gives the file or folder `fd`, which root has just made, to whom
// `folder` belongs: root looks after users' stores, which are theirs to mount
// afterwards. What others make stays theirs.
Status GiveToOwnerOf(int folder, int fd);
// GiveToOwnerOfParent gives it to whom the folder of `path`, its name, belongs.
Status GiveToOwnerOfParent(const std::string& path, int fd);

}  // namespace keyfold
