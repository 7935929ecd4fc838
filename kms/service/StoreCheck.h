// StoreCheck: how a check of a whole store uses the KMS.
//
// Owns: nothing; kms/service/StoreCheck.cc says what is recorded. Implementations are
// safe for concurrent use.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kms/service/DataKeys.h"

namespace keyfold {

// StoreCheck is a check of a whole store under way. It opens files' data keys whoever
// may use them, so only verdicts may leave who holds it, never contents.
class StoreCheck {
 public:
  using Details = std::map<std::string, std::string>;

  virtual ~StoreCheck() = default;
  // Unwrap opens the data key of a file. The first use of each CMK in the check is
  // recorded. kDisabled, kInvalidState, kNotFound: there is no key to be used.
  // kInvalidCiphertext, kIncorrectKey: it is not one of that context. kSystem: it could
  // not be recorded, so it is refused.
  virtual Result<DataKey> Unwrap(ByteView blob, const EncryptionContext& context) = 0;
  // Record tells the audit log what is found or about to be done: `path` as seen on the
  // mount, empty for what concerns the store. kSystem: then it must not be done.
  virtual Status Record(const std::string& event, const std::string& path,
                        const Details& details, const Status& outcome) = 0;
  // VerifyRecords walks the audit log. kCorrupt names the first record that is not as
  // it was written.
  virtual Status VerifyRecords() = 0;
};

}  // namespace keyfold
