#include "kms/crypto/Crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

namespace keyfold {

// CryptoInternal is the one maker of SecretAccess.
class CryptoInternal {
 public:
  static SecretAccess Access() { return SecretAccess(); }
};

namespace {

ByteView Raw(const SecretBytes& secret) {
  return secret.Expose(CryptoInternal::Access());
}
MutableBytes RawMutable(SecretBytes& secret) {
  return secret.ExposeMutable(CryptoInternal::Access());
}

// Must aborts when OpenSSL fails at what cannot fail but for want of memory.
void Must(int result) {
  if (result <= 0) std::abort();
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
using KdfCtx = std::unique_ptr<EVP_KDF_CTX, Deleter<EVP_KDF_CTX_free>>;
using Pkey = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using PkeyCtx = std::unique_ptr<EVP_PKEY_CTX, Deleter<EVP_PKEY_CTX_free>>;

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
const EVP_CIPHER* Siv() {
  static const EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-SIV", nullptr);
  return cipher;
}
const EVP_MD* Sha256Md() {
  static const EVP_MD* md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}
EVP_KDF* HkdfAlgorithm() {
  static EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  return kdf;
}

void HkdfInto(const SecretBytes& key, ByteView salt, ByteView info, MutableBytes out) {
  KdfCtx ctx(EVP_KDF_CTX_new(HkdfAlgorithm()));
  if (!ctx) std::abort();
  char digest[] = "SHA256";
  auto octets = [](const char* name, ByteView value) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<uint8_t*>(value.data()),
                                             value.size());
  };
  OSSL_PARAM params[5];
  OSSL_PARAM* at = params;
  *at++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
  *at++ = octets(OSSL_KDF_PARAM_KEY, Raw(key));
  if (!salt.empty()) *at++ = octets(OSSL_KDF_PARAM_SALT, salt);
  *at++ = octets(OSSL_KDF_PARAM_INFO, info);
  *at = OSSL_PARAM_construct_end();
  Must(EVP_KDF_derive(ctx.get(), out.data(), out.size(), params));
}

Status BadCiphertext() {
  return Status(Error::kInvalidCiphertext, "the ciphertext does not authenticate");
}

}  // namespace

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

Sha256Digest Sha256(ByteView data) {
  Sha256Digest out;
  Must(EVP_Digest(data.data(), data.size(), out.data(), nullptr, Sha256Md(), nullptr));
  return out;
}

Sha256Digest HmacSha256(const SecretBytes& key, ByteView data) {
  // Fetching the algorithm costs more than a short MAC, so each thread keeps a
  // context; a key of zeros takes the place of the secret one after use.
  static EVP_MAC* const algorithm = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  static constexpr uint8_t kNoKey[kKeySize] = {};
  thread_local MacCtx ctx;
  if (!ctx) {
    ctx.reset(EVP_MAC_CTX_new(algorithm));
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    if (!ctx) std::abort();
    Must(EVP_MAC_CTX_set_params(ctx.get(), params));
  }
  Sha256Digest out;
  size_t size = 0;
  const ByteView raw = Raw(key);
  Must(EVP_MAC_init(ctx.get(), raw.data(), raw.size(), nullptr));
  Must(EVP_MAC_update(ctx.get(), data.data(), data.size()));
  Must(EVP_MAC_final(ctx.get(), out.data(), &size, out.size()));
  Must(EVP_MAC_init(ctx.get(), kNoKey, sizeof kNoKey, nullptr));
  return out;
}

bool ConstantTimeEqual(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}
bool ConstantTimeEqual(const SecretBytes& a, const SecretBytes& b) {
  return ConstantTimeEqual(Raw(a), Raw(b));
}

SecretBytes Hkdf(const SecretBytes& key, ByteView salt, ByteView info, size_t size) {
  SecretBytes out(size);
  HkdfInto(key, salt, info, RawMutable(out));
  return out;
}

Bytes HkdfPublic(const SecretBytes& key, ByteView salt, ByteView info, size_t size) {
  Bytes out(size);
  HkdfInto(key, salt, info, out);
  return out;
}

Result<SecretBytes> Scrypt(const SecretBytes& passphrase, ByteView salt,
                           unsigned log2_n, unsigned r, unsigned p) {
  SecretBytes out(kKeySize);
  const ByteView raw = Raw(passphrase);
  const MutableBytes to = RawMutable(out);
  constexpr uint64_t kMaxMemory = uint64_t{4} << 30;
  if (log2_n > 30 ||
      EVP_PBE_scrypt(reinterpret_cast<const char*>(raw.data()), raw.size(), salt.data(),
                     salt.size(), uint64_t{1} << log2_n, r, p, kMaxMemory, to.data(),
                     to.size()) != 1)
    return Status(Error::kInternal, "scrypt refused its parameters");
  return out;
}

struct Aead::Impl {
  CipherCtx Make(bool seal) const {
    CipherCtx ctx(EVP_CIPHER_CTX_new());
    if (!ctx) std::abort();
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

struct DeterministicAead::Impl {
  SecretBytes key;
  CipherCtx Make(bool seal) const {
    CipherCtx ctx(EVP_CIPHER_CTX_new());
    if (!ctx) std::abort();
    Must(EVP_CipherInit_ex2(ctx.get(), Siv(), Raw(key).data(), nullptr, seal ? 1 : 0,
                            nullptr));
    return ctx;
  }
};

DeterministicAead::DeterministicAead(const SecretBytes& key)
    : impl_(std::make_unique<Impl>()) {
  if (key.size() != 2 * kKeySize) std::abort();
  impl_->key = CopySecret(key);
}
DeterministicAead::~DeterministicAead() = default;

Bytes DeterministicAead::Seal(ByteView aad, ByteView plain) const {
  Bytes out(kSivTagSize + plain.size());
  CipherCtx ctx = impl_->Make(true);
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
  CipherCtx ctx = impl_->Make(false);
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

struct RsaPrivateKey::Impl {
  Pkey key;
};
RsaPrivateKey::RsaPrivateKey() : impl_(std::make_unique<Impl>()) {}
RsaPrivateKey::RsaPrivateKey(RsaPrivateKey&&) noexcept = default;
RsaPrivateKey& RsaPrivateKey::operator=(RsaPrivateKey&&) noexcept = default;
RsaPrivateKey::~RsaPrivateKey() = default;

Result<RsaPrivateKey> RsaPrivateKey::Generate(unsigned bits) {
  RsaPrivateKey out;
  out.impl_->key.reset(
      EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<size_t>(bits)));
  if (!out.impl_->key) return Status(Error::kInternal, "cannot make an RSA key");
  return out;
}

Result<RsaPrivateKey> RsaPrivateKey::FromPkcs8(const SecretBytes& der) {
  const ByteView raw = Raw(der);
  const uint8_t* at = raw.data();
  RsaPrivateKey out;
  out.impl_->key.reset(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(raw.size())));
  if (!out.impl_->key) return Status(Error::kCorrupt, "not an RSA private key");
  return out;
}

SecretBytes RsaPrivateKey::ToPkcs8() const {
  std::unique_ptr<PKCS8_PRIV_KEY_INFO, Deleter<PKCS8_PRIV_KEY_INFO_free>> info(
      EVP_PKEY2PKCS8(impl_->key.get()));
  if (!info) std::abort();
  const int size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), nullptr);
  Must(size);
  SecretBytes out(static_cast<size_t>(size));
  uint8_t* at = RawMutable(out).data();
  Must(i2d_PKCS8_PRIV_KEY_INFO(info.get(), &at));
  return out;
}

Bytes RsaPrivateKey::PublicKeyDer() const {
  const int size = i2d_PUBKEY(impl_->key.get(), nullptr);
  Must(size);
  Bytes out(static_cast<size_t>(size));
  uint8_t* at = out.data();
  Must(i2d_PUBKEY(impl_->key.get(), &at));
  return out;
}

Result<SecretBytes> RsaPrivateKey::Unwrap(ByteView wrapped, Padding padding) const {
  PkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(nullptr, impl_->key.get(), nullptr));
  if (!ctx) std::abort();
  const EVP_MD* md = padding == Padding::kOaepSha1 ? EVP_sha1() : EVP_sha256();
  Must(EVP_PKEY_decrypt_init(ctx.get()));
  Must(EVP_PKEY_CTX_set_rsa_padding(ctx.get(), RSA_PKCS1_OAEP_PADDING));
  Must(EVP_PKEY_CTX_set_rsa_oaep_md(ctx.get(), md));
  Must(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx.get(), md));
  size_t size = static_cast<size_t>(EVP_PKEY_get_size(impl_->key.get()));
  SecretBytes plain(size);
  const MutableBytes raw = RawMutable(plain);
  if (EVP_PKEY_decrypt(ctx.get(), raw.data(), &size, wrapped.data(), wrapped.size()) !=
      1)
    return BadCiphertext();
  SecretBytes out(size);
  std::memcpy(RawMutable(out).data(), raw.data(), size);
  return out;
}

Result<SecretBytes> RsaPrivateKey::UnwrapRsaAes(ByteView wrapped,
                                                Padding padding) const {
  const size_t rsa = static_cast<size_t>(EVP_PKEY_get_size(impl_->key.get()));
  if (wrapped.size() <= rsa + 8) return BadCiphertext();
  KF_ASSIGN_OR_RETURN(const SecretBytes kek, Unwrap(wrapped.first(rsa), padding));
  if (kek.size() != kKeySize) return BadCiphertext();
  const ByteView body = wrapped.subspan(rsa);
  CipherCtx ctx(EVP_CIPHER_CTX_new());
  if (!ctx) std::abort();
  EVP_CIPHER_CTX_set_flags(ctx.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  Must(EVP_DecryptInit_ex(ctx.get(), EVP_aes_256_wrap_pad(), nullptr, Raw(kek).data(),
                          nullptr));
  SecretBytes plain(body.size() + 16);
  int n = 0;
  if (EVP_DecryptUpdate(ctx.get(), RawMutable(plain).data(), &n, body.data(),
                        static_cast<int>(body.size())) != 1 ||
      n <= 0)
    return BadCiphertext();
  SecretBytes out(static_cast<size_t>(n));
  std::memcpy(RawMutable(out).data(), Raw(plain).data(), out.size());
  return out;
}

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
