#include <openssl/evp.h>
#include <openssl/x509.h>

#include "kms/crypto/Crypto.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

using MdCtx = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX_free>>;

constexpr size_t kSeedSize = 32, kSignatureSize = 64;

}  // namespace

struct SigningKey::Impl {
  Pkey key;
};
SigningKey::SigningKey() : impl_(std::make_unique<Impl>()) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

SigningKey SigningKey::Generate() {
  SigningKey out;
  out.impl_->key = Made(Pkey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")));
  return out;
}

Result<SigningKey> SigningKey::FromSeed(const SecretBytes& seed) {
  if (seed.size() != kSeedSize)
    return Status(Error::kCorrupt, "not an Ed25519 private key");
  const ByteView raw = Raw(seed);
  SigningKey out;
  out.impl_->key = Made(Pkey(EVP_PKEY_new_raw_private_key_ex(
      nullptr, "ED25519", nullptr, raw.data(), raw.size())));
  return out;
}

SecretBytes SigningKey::Seed() const {
  SecretBytes seed(kSeedSize);
  size_t size = kSeedSize;
  Must(EVP_PKEY_get_raw_private_key(impl_->key.get(), RawMutable(seed).data(), &size));
  return seed;
}

Bytes SigningKey::PublicKeyDer() const {
  const int size = i2d_PUBKEY(impl_->key.get(), nullptr);
  Must(size);
  Bytes out(static_cast<size_t>(size));
  uint8_t* at = out.data();
  Must(i2d_PUBKEY(impl_->key.get(), &at));
  return out;
}

Bytes SigningKey::Sign(ByteView message) const {
  const MdCtx ctx = Made(MdCtx(EVP_MD_CTX_new()));
  Must(EVP_DigestSignInit_ex(ctx.get(), nullptr, nullptr, nullptr, nullptr,
                             impl_->key.get(), nullptr));
  Bytes out(kSignatureSize);
  size_t size = out.size();
  Must(EVP_DigestSign(ctx.get(), out.data(), &size, message.data(), message.size()));
  return out;
}

bool VerifySignature(ByteView public_key_der, ByteView message, ByteView signature) {
  const uint8_t* at = public_key_der.data();
  const Pkey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(public_key_der.size())));
  if (!key || EVP_PKEY_is_a(key.get(), "ED25519") != 1) return false;
  const MdCtx ctx = Made(MdCtx(EVP_MD_CTX_new()));
  Must(EVP_DigestVerifyInit_ex(ctx.get(), nullptr, nullptr, nullptr, nullptr, key.get(),
                               nullptr));
  return EVP_DigestVerify(ctx.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

}  // namespace keyfold
