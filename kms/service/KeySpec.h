// KeySpec: what kind of material a key has, and so what it is used for.
//
// Owns: the specs that are built, their names, sizes and algorithms. Must not know:
// keys. Constants.
#pragma once

#include <string_view>

#include "kms/crypto/Crypto.h"

namespace keyfold {

enum class KeyUsage { kEncryptDecrypt, kGenerateVerifyMac };
enum class KeySpec { kSymmetricDefault, kHmac224, kHmac256, kHmac384, kHmac512 };

// The AWS name: "GENERATE_VERIFY_MAC".
std::string_view UsageName(KeyUsage usage);

struct KeySpecTraits {
  KeySpec spec;
  std::string_view name;  // "HMAC_256"
  KeyUsage usage;
  size_t material_size;        // bytes
  std::string_view algorithm;  // the one algorithm it is used with: "HMAC_SHA_256"
  MacHash hash;                // of GENERATE_VERIFY_MAC
};
const KeySpecTraits& TraitsOf(KeySpec spec);
// Null for a name that is not built.
const KeySpecTraits* FindKeySpec(std::string_view name);

}  // namespace keyfold
