// Who seals the root key: a passphrase, a passphrase in a file, a key file, a PKCS#11
// token or a TPM.
//
// Owns: the sealed form kept in the store's configuration. Must not know: what
// the root key protects. Free functions, thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// What a person is asked for.
enum class Asked {
  kPassphrase,
  kNewPassphrase,  // twice
  kPin,            // of a token
};
// PassphrasePrompt asks a person; called only when the secret comes from no file.
using PassphrasePrompt = std::function<Result<SecretBytes>(Asked)>;

// ScryptParameters is the cost of guessing a passphrase: 2^log2_n * r * 128
// bytes of memory (128 MiB), p times over. RFC 7914.
struct ScryptParameters {
  unsigned log2_n = 17;  // 10 to 22
  unsigned r = 8;        // 1 to 32
  unsigned p = 1;        // 1 to 16
};

// CreateRootKey makes a random root key and the JSON description by which
// UnsealRootKey gets it back. `spec` is "passphrase", "passphrase-file:PATH",
// "file:PATH" (a new file of 32 random bytes, mode 0400, outside the store;
// an existing file of exactly 32 bytes is used) , "pkcs11:URI" (RFC 7512; the
// wrapping key is made in the token if it has none of that name) or
// "tpm2[:pcrs=sha256:0+7][,auth=prompt|file:/PATH][,tcti=TCTI]". kUsage for another
// spec, an empty passphrase, a file that others may read, or a key that could leave
// its token.
// The description holds provider, parameters and sealed key, never a secret.
struct SealedRootKey {
  RootKey key;
  nlohmann::json description;
};
Result<SealedRootKey> CreateRootKey(const std::string& spec,
                                    const PassphrasePrompt& prompt,
                                    const ScryptParameters& cost = {});
// SealRootKey is the same for a key that is there already.
Result<nlohmann::json> SealRootKey(const RootKey& key, const std::string& spec,
                                   const PassphrasePrompt& prompt,
                                   const ScryptParameters& cost = {});

// UnsealRootKey: kWrongCredential for a wrong passphrase, key file, PIN or token,
// kUnavailable without the token, kSystem for an unreadable file, kCorrupt for a
// damaged description.
// `override_spec` may replace where the secret comes from ("passphrase-file:F"
// for a store sealed by passphrase); empty means as described.
Result<RootKey> UnsealRootKey(const nlohmann::json& description,
                              const std::string& override_spec,
                              const PassphrasePrompt& prompt);

// RootKeySpec is the spec that a description was made from.
Result<std::string> RootKeySpec(const nlohmann::json& description);

// RootKeyFile is the file in which `spec` keeps a secret: a passphrase, a key, a PIN;
// empty if in none.
std::string RootKeyFile(const std::string& spec);

// RootKeyDevice is the token or TPM that holds what unseals the root key. One thread
// at a time.
class RootKeyDevice {
 public:
  virtual ~RootKeyDevice() = default;
  // Check is kUnavailable, and says why, while the device is not there.
  virtual Status Check() = 0;
};
// WatchRootKey finds the device; null for a root key that hangs on none.
Result<std::unique_ptr<RootKeyDevice>> WatchRootKey(const nlohmann::json& description,
                                                    const std::string& override_spec);

}  // namespace keyfold
