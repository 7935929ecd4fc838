#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstdlib>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

const EVP_CIPHER* Siv() {
  static const EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-SIV", nullptr);
  return cipher;
}

}  // namespace

// A context serves one message; copying one that has the key costs less than setting
// the key up.
struct DeterministicAead::Impl {
  explicit Impl(const SecretBytes& key) : seal(Make(key, 1)), open(Make(key, 0)) {}
  static CipherCtx Make(const SecretBytes& key, int sealing) {
    if (key.size() != 2 * kKeySize) std::abort();
    CipherCtx ctx = Made(CipherCtx(EVP_CIPHER_CTX_new()));
    Must(EVP_CipherInit_ex2(ctx.get(), Siv(), Raw(key).data(), nullptr, sealing,
                            nullptr));
    return ctx;
  }
  static CipherCtx CopyOf(const CipherCtx& keyed) {
    CipherCtx ctx = Made(CipherCtx(EVP_CIPHER_CTX_new()));
    Must(EVP_CIPHER_CTX_copy(ctx.get(), keyed.get()));
    return ctx;
  }
  const CipherCtx seal, open;
};

DeterministicAead::DeterministicAead(const SecretBytes& key)
    : impl_(std::make_unique<Impl>(key)) {}
DeterministicAead::~DeterministicAead() = default;

Bytes DeterministicAead::Seal(ByteView aad, ByteView plain) const {
  Bytes out(kSivTagSize + plain.size());
  const CipherCtx ctx = Impl::CopyOf(impl_->seal);
  int n = 0;
  if (!aad.empty())
    Must(EVP_EncryptUpdate(ctx.get(), nullptr, &n, aad.data(),
                           static_cast<int>(aad.size())));
  Must(EVP_EncryptUpdate(ctx.get(), out.data() + kSivTagSize, &n, plain.data(),
                         static_cast<int>(plain.size())));
  uint8_t none[16];
  Must(EVP_EncryptFinal_ex(ctx.get(), none, &n));
  Must(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, kSivTagSize, out.data()));
  return out;
}

Result<Bytes> DeterministicAead::Open(ByteView aad, ByteView sealed) const {
  if (sealed.size() <= kSivTagSize) return BadCiphertext();
  Bytes plain(sealed.size() - kSivTagSize);
  const CipherCtx ctx = Impl::CopyOf(impl_->open);
  int n = 0;
  Must(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_TAG, kSivTagSize,
                           const_cast<uint8_t*>(sealed.data())));
  if (!aad.empty())
    Must(EVP_DecryptUpdate(ctx.get(), nullptr, &n, aad.data(),
                           static_cast<int>(aad.size())));
  uint8_t none[16];
  if (EVP_DecryptUpdate(ctx.get(), plain.data(), &n, sealed.data() + kSivTagSize,
                        static_cast<int>(plain.size())) != 1 ||
      EVP_DecryptFinal_ex(ctx.get(), none, &n) != 1) {
    OPENSSL_cleanse(plain.data(), plain.size());
    return BadCiphertext();
  }
  return plain;
}

}  // namespace keyfold
