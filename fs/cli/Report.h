// What a command says when it fails.
#pragma once

#include <string>
#include <string_view>

#include "kms/base/Status.h"

namespace keyfold {

// Fail prints "keyfold: reason" to standard error; returns the exit code.
int Fail(const Status& status);
// PrintOrFail prints `text` to standard output; 0, or the exit code when it cannot be
// written.
int PrintOrFail(const std::string& text);
// FailCall prints a KMS error as the AWS CLI does, and returns 254; other
// failures as Fail.
int FailCall(std::string_view operation, const Status& status);

}  // namespace keyfold
