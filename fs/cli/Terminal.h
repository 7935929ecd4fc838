// Asking for a passphrase on the terminal.
#pragma once

#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// AskPassphrase reads a line from /dev/tty without showing it; with `twice` it
// asks again and compares. kUsage without a terminal or when cancelled.
Result<SecretBytes> AskPassphrase(bool twice);

}  // namespace keyfold
