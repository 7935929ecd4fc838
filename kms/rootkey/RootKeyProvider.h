// Who seals the root key: a passphrase, a passphrase in a file, or a key file.
//
// Owns: the sealed form kept in the store's configuration. Must not know: what
// the root key protects. Free functions, thread-safe.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// PassphrasePrompt asks a person; called only for the provider "passphrase".
using PassphrasePrompt = std::function<Result<SecretBytes>()>;

// CreateRootKey makes a random root key and the JSON description by which
// UnsealRootKey gets it back. `spec` is "passphrase", "passphrase-file:PATH",
// or "file:PATH" (a new file of 32 random bytes, mode 0400, outside the store;
// an existing file of exactly 32 bytes is used). kUsage for another spec.
// The description holds provider, parameters and sealed key, never a secret.
struct SealedRootKey {
  RootKey key;
  nlohmann::json description;
};
Result<SealedRootKey> CreateRootKey(const std::string& spec,
                                    const PassphrasePrompt& prompt);

// UnsealRootKey: kWrongCredential for a wrong passphrase or key file,
// kSystem for an unreadable file, kCorrupt for a damaged description.
// `override_spec` may replace where the secret comes from ("passphrase-file:F"
// for a store sealed by passphrase); empty means as described.
Result<RootKey> UnsealRootKey(const nlohmann::json& description,
                              const std::string& override_spec,
                              const PassphrasePrompt& prompt);

}  // namespace keyfold
