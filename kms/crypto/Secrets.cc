#include <openssl/crypto.h>

#include <cstring>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {

Bytes RevealSecret(const SecretBytes& secret) {
  const ByteView raw = Raw(secret);
  return Bytes(raw.begin(), raw.end());
}

SecretBytes SecretFrom(MutableBytes source) {
  SecretBytes out(source.size());
  if (!source.empty())
    std::memcpy(RawMutable(out).data(), source.data(), source.size());
  OPENSSL_cleanse(source.data(), source.size());
  return out;
}

SecretBytes CopySecret(const SecretBytes& secret) {
  SecretBytes out(secret.size());
  if (!secret.empty())
    std::memcpy(RawMutable(out).data(), Raw(secret).data(), secret.size());
  return out;
}

SecretBytes SecretText(const SecretBytes& secret) {
  std::string text = ToBase64(Raw(secret));
  SecretBytes out(text.size());
  std::memcpy(RawMutable(out).data(), text.data(), text.size());
  explicit_bzero(text.data(), text.size());
  return out;
}

SecretBytes Prefixed(std::string_view prefix, const SecretBytes& secret) {
  SecretBytes out(prefix.size() + secret.size());
  const MutableBytes raw = RawMutable(out);
  std::memcpy(raw.data(), prefix.data(), prefix.size());
  if (!secret.empty())
    std::memcpy(raw.data() + prefix.size(), Raw(secret).data(), secret.size());
  return out;
}

}  // namespace keyfold
