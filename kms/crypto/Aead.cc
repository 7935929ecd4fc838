#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstdlib>
#include <mutex>
#include <vector>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

// ContextPool lends contexts that hold one key's schedule; each is made once.
class ContextPool {
 public:
  template <typename Make>
  CipherCtx Take(Make&& make) {
    {
      std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        CipherCtx ctx = std::move(free_.back());
        free_.pop_back();
        return ctx;
      }
    }
    return make();
  }
  void Return(CipherCtx ctx) {
    std::lock_guard lock(mutex_);
    free_.push_back(std::move(ctx));
  }

 private:
  std::mutex mutex_;
  std::vector<CipherCtx> free_;
};

const EVP_CIPHER* Gcm() {
  static const EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return cipher;
}

}  // namespace

struct Aead::Impl {
  CipherCtx Make(bool seal) const {
    CipherCtx ctx = Made(CipherCtx(EVP_CIPHER_CTX_new()));
    Must(EVP_CipherInit_ex2(ctx.get(), Gcm(), Raw(key).data(), nullptr, seal ? 1 : 0,
                            nullptr));
    return ctx;
  }
  SecretBytes key;
  ContextPool seal_pool, open_pool;
};

Aead::Aead(const SecretBytes& key) : impl_(std::make_unique<Impl>()) {
  if (key.size() != kKeySize) std::abort();
  impl_->key = CopySecret(key);
}
Aead::Aead(Aead&&) noexcept = default;
Aead& Aead::operator=(Aead&&) noexcept = default;
Aead::~Aead() = default;

void Aead::Seal(ByteView nonce, ByteView aad, ByteView plain, MutableBytes cipher,
                MutableBytes tag) const {
  if (nonce.size() != kGcmNonceSize || tag.size() != kGcmTagSize ||
      cipher.size() != plain.size())
    std::abort();
  CipherCtx ctx = impl_->seal_pool.Take([&] { return impl_->Make(true); });
  int n = 0;
  Must(EVP_EncryptInit_ex2(ctx.get(), nullptr, nullptr, nonce.data(), nullptr));
  if (!aad.empty())
    Must(EVP_EncryptUpdate(ctx.get(), nullptr, &n, aad.data(),
                           static_cast<int>(aad.size())));
  if (!plain.empty())
    Must(EVP_EncryptUpdate(ctx.get(), cipher.data(), &n, plain.data(),
                           static_cast<int>(plain.size())));
  uint8_t none[16];
  Must(EVP_EncryptFinal_ex(ctx.get(), none, &n));
  Must(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, kGcmTagSize, tag.data()));
  impl_->seal_pool.Return(std::move(ctx));
}

bool Aead::Open(ByteView nonce, ByteView aad, ByteView cipher, ByteView tag,
                MutableBytes plain) const {
  if (nonce.size() != kGcmNonceSize || tag.size() != kGcmTagSize ||
      cipher.size() != plain.size())
    std::abort();
  CipherCtx ctx = impl_->open_pool.Take([&] { return impl_->Make(false); });
  int n = 0;
  Must(EVP_DecryptInit_ex2(ctx.get(), nullptr, nullptr, nonce.data(), nullptr));
  if (!aad.empty())
    Must(EVP_DecryptUpdate(ctx.get(), nullptr, &n, aad.data(),
                           static_cast<int>(aad.size())));
  if (!cipher.empty())
    Must(EVP_DecryptUpdate(ctx.get(), plain.data(), &n, cipher.data(),
                           static_cast<int>(cipher.size())));
  Must(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_TAG, kGcmTagSize,
                           const_cast<uint8_t*>(tag.data())));
  uint8_t none[16];
  const bool authentic = EVP_DecryptFinal_ex(ctx.get(), none, &n) == 1;
  if (!authentic && !plain.empty()) OPENSSL_cleanse(plain.data(), plain.size());
  impl_->open_pool.Return(std::move(ctx));
  return authentic;
}

Bytes SealBytes(const SecretBytes& key, ByteView aad, ByteView plain) {
  Bytes out(kGcmNonceSize + plain.size() + kGcmTagSize);
  const MutableBytes all(out);
  FillRandom(all.first(kGcmNonceSize));
  Aead(key).Seal(all.first(kGcmNonceSize), aad, plain,
                 all.subspan(kGcmNonceSize, plain.size()), all.last(kGcmTagSize));
  return out;
}

Result<Bytes> OpenBytes(const SecretBytes& key, ByteView aad, ByteView sealed) {
  if (sealed.size() < kGcmNonceSize + kGcmTagSize) return BadCiphertext();
  Bytes plain(sealed.size() - kGcmNonceSize - kGcmTagSize);
  if (!Aead(key).Open(sealed.first(kGcmNonceSize), aad,
                      sealed.subspan(kGcmNonceSize, plain.size()),
                      sealed.last(kGcmTagSize), plain))
    return BadCiphertext();
  return plain;
}

Bytes SealSecret(const SecretBytes& key, ByteView aad, const SecretBytes& secret) {
  return SealBytes(key, aad, Raw(secret));
}

Result<SecretBytes> OpenSecret(const SecretBytes& key, ByteView aad, ByteView sealed) {
  if (sealed.size() < kGcmNonceSize) return BadCiphertext();
  return OpenSecretWith(Aead(key), sealed.first(kGcmNonceSize), aad,
                        sealed.subspan(kGcmNonceSize));
}

Bytes SealSecretWith(const Aead& aead, ByteView nonce, ByteView aad,
                     const SecretBytes& secret) {
  Bytes out(secret.size() + kGcmTagSize);
  const MutableBytes all(out);
  aead.Seal(nonce, aad, Raw(secret), all.first(secret.size()), all.last(kGcmTagSize));
  return out;
}

Result<SecretBytes> OpenSecretWith(const Aead& aead, ByteView nonce, ByteView aad,
                                   ByteView sealed) {
  if (sealed.size() < kGcmTagSize) return BadCiphertext();
  SecretBytes secret(sealed.size() - kGcmTagSize);
  if (!aead.Open(nonce, aad, sealed.first(secret.size()), sealed.last(kGcmTagSize),
                 RawMutable(secret)))
    return BadCiphertext();
  return secret;
}

}  // namespace keyfold
