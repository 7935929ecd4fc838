// The one place where a Status becomes an errno, of a reply or of a handle that
// lost its right.
#pragma once

#include <errno.h>

#include "kms/base/Status.h"

namespace keyfold {

inline int ErrnoOf(const Status& status) {
  switch (status.error()) {
    case Error::kOk:
      return 0;
    case Error::kSystem:
      return status.sys_errno() != 0 ? status.sys_errno() : EIO;
    // No right.
    case Error::kAccessDenied:
    case Error::kNotAuthorized:
      return EACCES;
    // No key.
    case Error::kDisabled:
    case Error::kInvalidState:
    case Error::kUnavailable:
    case Error::kNotFound:
      return ENOKEY;
    // Not what Keyfold wrote.
    case Error::kCorrupt:
    case Error::kInvalidCiphertext:
    case Error::kIncorrectKey:
      return EIO;
    case Error::kValidation:
    case Error::kUsage:
    case Error::kInvalidKeyUsage:
      return EINVAL;
    case Error::kUnsupportedOperation:
    // Not damage that a backup would mend; another program can.
    case Error::kNewerFormat:
      return EOPNOTSUPP;
    default:
      return EIO;
  }
}

// IsDamage tells whether something is not what this Keyfold writes: an error the user
// sees as EIO, or EOPNOTSUPP where a newer one may have written it, and the audit log
// names. Anyone who can write the store can make it seem newer.
inline bool IsDamage(const Status& status) {
  return status.error() == Error::kCorrupt ||
         status.error() == Error::kInvalidCiphertext ||
         status.error() == Error::kIncorrectKey ||
         status.error() == Error::kNewerFormat;
}

}  // namespace keyfold
