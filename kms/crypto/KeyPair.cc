#include <openssl/evp.h>
#include <openssl/x509.h>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

Pkey Rsa(size_t bits) { return Pkey(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", bits)); }

// OpenSSL writes a named curve as such in both encodings.
Pkey Ec(const char* curve) {
  return Pkey(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve));
}

Pkey Generate(KeyPairKind kind) {
  switch (kind) {
    case KeyPairKind::kRsa2048:
      return Rsa(2048);
    case KeyPairKind::kRsa3072:
      return Rsa(3072);
    case KeyPairKind::kRsa4096:
      return Rsa(4096);
    case KeyPairKind::kNistP256:
      return Ec("P-256");
    case KeyPairKind::kNistP384:
      return Ec("P-384");
    case KeyPairKind::kNistP521:
      return Ec("P-521");
    case KeyPairKind::kSecgP256k1:
      return Ec("secp256k1");
  }
  return nullptr;
}

}  // namespace

SecretBytes Pkcs8Of(const EVP_PKEY& key) {
  using Info = std::unique_ptr<PKCS8_PRIV_KEY_INFO, Deleter<PKCS8_PRIV_KEY_INFO_free>>;
  const Info info = Made(Info(EVP_PKEY2PKCS8(&key)));
  const int size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), nullptr);
  Must(size);
  SecretBytes out(static_cast<size_t>(size));
  uint8_t* at = RawMutable(out).data();
  Must(i2d_PKCS8_PRIV_KEY_INFO(info.get(), &at));
  return out;
}

Bytes PublicDerOf(const EVP_PKEY& key) {
  const int size = i2d_PUBKEY(&key, nullptr);
  Must(size);
  Bytes out(static_cast<size_t>(size));
  uint8_t* at = out.data();
  Must(i2d_PUBKEY(&key, &at));
  return out;
}

Result<GeneratedKeyPair> GenerateKeyPair(KeyPairKind kind) {
  const Pkey key = Generate(kind);
  if (!key) return Status(Error::kInternal, "cannot make a key pair");
  return GeneratedKeyPair{Pkcs8Of(*key), PublicDerOf(*key)};
}

}  // namespace keyfold
