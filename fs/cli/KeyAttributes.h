// What a mount tells of a file's or folder's keys, and changes of them, by extended
// attributes. Must not know: why. Free functions.
#pragma once

#include <string>

#include "kms/base/Status.h"

namespace keyfold {

// `path` may be the path of an O_PATH descriptor (FdPath). kSystem with the mount's
// errno.
Result<std::string> KeyLabelOf(const std::string& path);  // alias, else id
Result<std::string> KeyIdOf(const std::string& path);
Result<std::string> FolderIdOf(const std::string& path);
Result<std::string> DataKeyIdOf(const std::string& path);  // of a file
struct WrapState {
  bool old = false;           // wrapped under an older version of its CMK
  bool reencrypting = false;  // begun and not ended
};
Result<WrapState> WrapStateOf(const std::string& path);  // of a file
Status SetKeyOf(const std::string& path, const std::string& key);

}  // namespace keyfold
