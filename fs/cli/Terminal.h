// Asking for a passphrase on the terminal.
#pragma once

#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"
#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {

// AskPassphrase reads a line from /dev/tty without showing it; a new passphrase it asks
// for twice, and compares. kUsage without a terminal or when cancelled.
Result<SecretBytes> AskPassphrase(Asked asked);

}  // namespace keyfold
