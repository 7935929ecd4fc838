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

// ScryptParameters is the cost of guessing a passphrase: 2^log2_n * r * 128
// bytes of memory (128 MiB), p times over. RFC 7914.
struct ScryptParameters {
  unsigned log2_n = 17;  // 10 to 22
  unsigned r = 8;        // 1 to 32
  unsigned p = 1;        // 1 to 16
};

// CreateRootKey makes a random root key and the JSON description by which
// UnsealRootKey gets it back. `spec` is "passphrase", "passphrase-file:PATH",
// or "file:PATH" (a new file of 32 random bytes, mode 0400, outside the store;
// an existing file of exactly 32 bytes is used). kUsage for another spec, an
// empty passphrase, or a file that others may read.
// The description holds provider, parameters and sealed key, never a secret.
struct SealedRootKey {
  RootKey key;
  nlohmann::json description;
};
Result<SealedRootKey> CreateRootKey(const std::string& spec,
                                    const PassphrasePrompt& prompt,
                                    const ScryptParameters& cost = {});

// UnsealRootKey: kWrongCredential for a wrong passphrase or key file,
// kSystem for an unreadable file, kCorrupt for a damaged description.
// `override_spec` may replace where the secret comes from ("passphrase-file:F"
// for a store sealed by passphrase); empty means as described.
Result<RootKey> UnsealRootKey(const nlohmann::json& description,
                              const std::string& override_spec,
                              const PassphrasePrompt& prompt);

}  // namespace keyfold
