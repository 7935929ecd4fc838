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

}  // namespace keyfold
