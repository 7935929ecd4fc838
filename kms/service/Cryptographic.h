// What the cryptographic operations share.
#pragma once

#include <string>

#include "kms/service/Invocation.h"

namespace keyfold {

// ContextToSeal reads the encryption context of something to be encrypted; kValidation
// for one that is too long, or the filesystem's own.
Result<EncryptionContext> ContextToSeal(const Parameters& parameters, const char* name);
// RefuseRecipient: answers for an enclave alone are not built.
Status RefuseRecipient(const Parameters& parameters);
// Reveal is the secret in base64, for the answer to whoever may have it.
std::string Reveal(const SecretBytes& secret);

}  // namespace keyfold
