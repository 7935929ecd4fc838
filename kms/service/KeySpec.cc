#include "kms/service/KeySpec.h"

namespace keyfold {
namespace {

// In the order of KeySpec.
constexpr KeySpecTraits kSpecs[] = {
    {KeySpec::kSymmetricDefault,
     "SYMMETRIC_DEFAULT",
     KeyUsage::kEncryptDecrypt,
     kKeySize,
     "SYMMETRIC_DEFAULT",
     {}},
    {KeySpec::kHmac224, "HMAC_224", KeyUsage::kGenerateVerifyMac, 28, "HMAC_SHA_224",
     MacHash::kSha224},
    {KeySpec::kHmac256, "HMAC_256", KeyUsage::kGenerateVerifyMac, 32, "HMAC_SHA_256",
     MacHash::kSha256},
    {KeySpec::kHmac384, "HMAC_384", KeyUsage::kGenerateVerifyMac, 48, "HMAC_SHA_384",
     MacHash::kSha384},
    {KeySpec::kHmac512, "HMAC_512", KeyUsage::kGenerateVerifyMac, 64, "HMAC_SHA_512",
     MacHash::kSha512},
};

}  // namespace

std::string_view UsageName(KeyUsage usage) {
  return usage == KeyUsage::kEncryptDecrypt ? "ENCRYPT_DECRYPT" : "GENERATE_VERIFY_MAC";
}

const KeySpecTraits& TraitsOf(KeySpec spec) {
  return kSpecs[static_cast<size_t>(spec)];
}

const KeySpecTraits* FindKeySpec(std::string_view name) {
  for (const KeySpecTraits& traits : kSpecs)
    if (traits.name == name) return &traits;
  return nullptr;
}

}  // namespace keyfold
