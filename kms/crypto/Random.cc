#include <openssl/rand.h>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {

void FillRandom(MutableBytes out) {
  if (!out.empty()) Must(RAND_bytes(out.data(), static_cast<int>(out.size())));
}

Bytes RandomBytes(size_t size) {
  Bytes out(size);
  FillRandom(out);
  return out;
}

SecretBytes RandomSecret(size_t size) {
  SecretBytes out(size);
  FillRandom(RawMutable(out));
  return out;
}

std::string RandomUuid() {
  Bytes raw = RandomBytes(16);
  raw[6] = static_cast<uint8_t>((raw[6] & 0x0f) | 0x40);
  raw[8] = static_cast<uint8_t>((raw[8] & 0x3f) | 0x80);
  const std::string hex = ToHex(raw);
  return hex.substr(0, 8) + '-' + hex.substr(8, 4) + '-' + hex.substr(12, 4) + '-' +
         hex.substr(16, 4) + '-' + hex.substr(20);
}

}  // namespace keyfold
