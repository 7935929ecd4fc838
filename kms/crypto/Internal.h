// What the sources of kms/crypto share: access to raw key bytes, owners of OpenSSL
// objects. Nothing outside includes it but tests of secrets.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <new>

#include "kms/base/Bytes.h"
#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// CryptoInternal is the one maker of SecretAccess.
class CryptoInternal {
 public:
  static SecretAccess Access() { return SecretAccess(); }
};

inline ByteView Raw(const SecretBytes& secret) {
  return secret.Expose(CryptoInternal::Access());
}
inline MutableBytes RawMutable(SecretBytes& secret) {
  return secret.ExposeMutable(CryptoInternal::Access());
}

// Must is for what OpenSSL cannot fail at but for want of memory; it throws
// std::bad_alloc then.
inline void Must(int result) {
  if (result <= 0) throw std::bad_alloc();
}
// Made does so for an object that OpenSSL was to make.
template <typename Owner>
Owner Made(Owner made) {
  if (!made) throw std::bad_alloc();
  return made;
}

// The two halves of `key`, in DER.
SecretBytes Pkcs8Of(const EVP_PKEY& key);
Bytes PublicDerOf(const EVP_PKEY& key);

// HMAC-SHA-256 over first || second; `key` of any size.
void HmacSha256Into(ByteView key, ByteView first, ByteView second, MutableBytes out);

inline Status BadCiphertext() {
  return Status(Error::kInvalidCiphertext, "the ciphertext does not authenticate");
}

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using CipherCtx = std::unique_ptr<EVP_CIPHER_CTX, Deleter<EVP_CIPHER_CTX_free>>;
using MacCtx = std::unique_ptr<EVP_MAC_CTX, Deleter<EVP_MAC_CTX_free>>;
using Pkey = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using PkeyCtx = std::unique_ptr<EVP_PKEY_CTX, Deleter<EVP_PKEY_CTX_free>>;

}  // namespace keyfold
