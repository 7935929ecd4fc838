// Provider: one way of keeping the root key sealed, as RootKeyProvider.cc finds it.
//
// Owns: the shape all of them have. Must not know: which there are. Each lies in a file
// of its own, with what it keeps in the description.
#pragma once

#include "kms/base/Bytes.h"
#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {

struct SealRequest {
  const std::string& spec;  // whole, "file:/etc/keyfold.key"
  const PassphrasePrompt& prompt;
  const ScryptParameters& cost;
};

struct UnsealRequest {
  const nlohmann::json& description;
  const std::string& spec;  // of the same kind; empty: as described
  const PassphrasePrompt& prompt;
};

// Seal returns the description but for its "provider". Errors are those of
// CreateRootKey and UnsealRootKey; nlohmann's exceptions may come through.
using SealRoot = Result<nlohmann::json>(const SealRequest& request,
                                        const SecretBytes& root);
using UnsealRoot = Result<SecretBytes>(const UnsealRequest& request);
// Watch is of providers whose secret lies in a device.
using WatchRoot = Result<std::unique_ptr<RootKeyDevice>>(const UnsealRequest& request);

// Respell returns the spec of a description.
using Respell = Result<std::string>(const nlohmann::json& description);
// NameFile is the file in which a spec says that a secret lies; empty if in none.
using NameFile = std::string(const std::string& spec);

SealRoot SealByPassphrase, SealByKeyFile, SealByPkcs11, SealByTpm2;
UnsealRoot UnsealByPassphrase, UnsealByKeyFile, UnsealByPkcs11, UnsealByTpm2;
Respell Pkcs11Spec, Tpm2Spec;
WatchRoot WatchPkcs11, WatchTpm2;
NameFile Pkcs11PinFile, Tpm2AuthFile;

// What several of them share. p() of KMS.md: label, provider.
inline constexpr size_t kRootKeySaltSize = 32;
ByteWriter StartRootKeyAad(std::string_view provider);
// AfterColon is what a spec says of its provider; empty if nothing.
std::string AfterColon(const std::string& spec);
// UnknownRootKeySpec is kUsage, with what there is.
Status UnknownRootKeySpec();
// AbsolutePath completes a name of the command line; kUsage for one that the
// description can't hold.
Result<std::string> AbsolutePath(const std::string& path);

}  // namespace keyfold
