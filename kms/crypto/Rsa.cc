#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <cstdlib>
#include <cstring>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {

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

SecretBytes RsaPrivateKey::ToPkcs8() const { return Pkcs8Of(*impl_->key); }
Bytes RsaPrivateKey::PublicKeyDer() const { return PublicDerOf(*impl_->key); }

Result<SecretBytes> RsaPrivateKey::Unwrap(ByteView wrapped, Padding padding) const {
  const PkeyCtx ctx =
      Made(PkeyCtx(EVP_PKEY_CTX_new_from_pkey(nullptr, impl_->key.get(), nullptr)));
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
  const CipherCtx ctx = Made(CipherCtx(EVP_CIPHER_CTX_new()));
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

}  // namespace keyfold
