#include "fs/cli/ExitCode.h"

namespace keyfold {

bool IsServiceError(const Status& status) {
  switch (status.error()) {
    case Error::kOk:
    case Error::kSystem:
    case Error::kCorrupt:
    case Error::kNotAStore:
    case Error::kNewerFormat:
    case Error::kWrongCredential:
    case Error::kLocked:
    case Error::kUsage:
      return false;
    default:
      return true;
  }
}

ExitCode ExitCodeOf(const Status& status) {
  switch (status.error()) {
    case Error::kOk:
      return kExitOk;
    case Error::kSystem:
    case Error::kInternal:
      return kExitFailed;
    case Error::kUsage:
      return kExitUsage;
    case Error::kNotAStore:
    case Error::kNewerFormat:
      return kExitNotAStore;
    case Error::kWrongCredential:
      return kExitWrongCredential;
    case Error::kLocked:
      return kExitBusy;
    case Error::kCorrupt:
      return kExitDamaged;
    case Error::kAccessDenied:
    case Error::kNotAuthorized:
      return kExitRefused;
    default:
      return kExitServiceError;
  }
}

std::string_view ExitCodeHelp() {
  return "Exit codes:\n"
         "  0    done\n"
         "  1    failed: an error of the system\n"
         "  2    wrong option, argument or option file\n"
         "  3    not a store, or of a newer format\n"
         "  4    wrong passphrase, key file, PIN or token\n"
         "  5    store, mountpoint or lock in use\n"
         "  6    damaged: store, key store or audit log fails its checks\n"
         "  7    refused: no right\n"
         "  8    done, but for what was left out, each named (import, export)\n"
         "  254  an error of the KMS (of `keyfold kms`: refusals too, as `aws kms`)\n"
         "keyfold fsck has codes of its own: see keyfold fsck --help.\n";
}

}  // namespace keyfold
