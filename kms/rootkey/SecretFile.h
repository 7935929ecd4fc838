// Files that hold a secret: a passphrase or a key.
//
// Owns: who may own and read such a file, and wiping what was read. Must not
// know: what the secret seals. Free functions, thread-safe.
#pragma once

#include <string>

#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// ReadSecretFile returns the whole contents of the regular file `path`. kUsage
// if it is larger than `limit` bytes, not regular, owned by another user than
// the caller or root, or accessible to group or others; kSystem if unreadable.
// With `strip_newline` one newline at the end is left out.
Result<SecretBytes> ReadSecretFile(const std::string& path, size_t limit,
                                   bool strip_newline);

// CreateKeyFile writes `size` random bytes to the new file `path`, mode 0400,
// durably. kSystem/EEXIST if it exists.
Status CreateKeyFile(const std::string& path, size_t size);

}  // namespace keyfold
