// Replacing a file by a copy under a new data key.
#pragma once

#include <string>

#include "kms/base/Status.h"

namespace keyfold {

// Reencrypt copies the regular file `path` (contents, mode, owner, times,
// extended attributes) to a new file beside it whose data key is wrapped under
// `key`, and puts that in its place. kUsage for other files and for files with
// several links; on failure `path` is as it was.
Status Reencrypt(const std::string& path, const std::string& key);

}  // namespace keyfold
