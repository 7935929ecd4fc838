// Dispatch: which function does an operation, on which key, and in which states
// of the key it may be done. KMS.md shows the table.
#pragma once

#include <string_view>

#include "kms/service/Operations.h"

namespace keyfold {

// StateRule is a row of the table of key states. D = kDisabled, S =
// kInvalidState, U = kUnsupportedOperation.
enum class StateRule {
  kAny,             // always
  kUse,             // Enabled only; Disabled D, else S
  kEncrypt,         // kInvalidKeyUsage unless ENCRYPT_DECRYPT; else as kUse
  kMac,             // kInvalidKeyUsage unless GENERATE_VERIFY_MAC; else as kUse
  kSwitch,          // Enabled, Disabled; else S
  kUnlessDeletion,  // PendingDeletion S
  kRotateNow,       // not ENCRYPT_DECRYPT: U; else as kUse
  kRotation,        // origin EXTERNAL: U; else as kRotateNow
  kImport,          // origin AWS_KMS U; PendingDeletion S
  kDeleteImport,    // origin AWS_KMS U
  kCancel,          // PendingDeletion only; else S
};

struct DispatchEntry {
  std::string_view service, operation;
  Answer (*run)(Invocation&);
  const char* key_parameter = nullptr;  // the key is found and authorized before
  StateRule rule = StateRule::kAny;
  bool writes = false;  // runs with the state locked
  // Slow work before the state is locked.
  Status (*prepare)(Invocation&) = nullptr;
};

const DispatchEntry* FindDispatch(std::string_view service, std::string_view operation);
// CheckState applies the rule to the key's state at the time of the call.
Status CheckState(StateRule rule, const Account& account, const KeyRecord& key,
                  TimePoint now);

}  // namespace keyfold
