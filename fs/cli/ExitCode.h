// The exit codes of `keyfold`: stable, and listed by `keyfold help exit-codes`.
#pragma once

#include <string_view>

#include "kms/base/Status.h"

namespace keyfold {

enum ExitCode {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitNotAStore = 3,
  kExitWrongCredential = 4,
  kExitBusy = 5,
  kExitDamaged = 6,
  kExitRefused = 7,
  kExitIncomplete = 8,
  kExitServiceError = 254,  // as `aws kms`
};

// `keyfold fsck` has those of fsck(8) instead; they add up.
enum FsckExitCode {
  kFsckRepaired = 1,
  kFsckDamaged = 4,
  kFsckFailed = 8,
  kFsckUsage = 16,
  kFsckCancelled = 32,
};

ExitCode ExitCodeOf(const Status& status);
// IsServiceError tells a KMS's answer from a failure to get one.
bool IsServiceError(const Status& status);
// One line per exit code.
std::string_view ExitCodeHelp();

}  // namespace keyfold
