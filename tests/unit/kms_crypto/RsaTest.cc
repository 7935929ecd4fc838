// Does a private key unwrap what was wrapped for it, and only that?
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

#include "Vectors.h"

namespace keyfold {
namespace {

using Padding = RsaPrivateKey::Padding;

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* ctx) const { EVP_PKEY_CTX_free(ctx); }
  void operator()(EVP_CIPHER_CTX* ctx) const { EVP_CIPHER_CTX_free(ctx); }
};

// What a client does with the public key it was given.
Bytes Wrap(ByteView public_der, ByteView plain, Padding padding) {
  const uint8_t* at = public_der.data();
  const std::unique_ptr<EVP_PKEY, Free> key(
      d2i_PUBKEY(nullptr, &at, static_cast<long>(public_der.size())));
  EXPECT_NE(key, nullptr);
  const std::unique_ptr<EVP_PKEY_CTX, Free> ctx(
      EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  const EVP_MD* md = padding == Padding::kOaepSha1 ? EVP_sha1() : EVP_sha256();
  EXPECT_EQ(EVP_PKEY_encrypt_init(ctx.get()), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_rsa_padding(ctx.get(), RSA_PKCS1_OAEP_PADDING), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_rsa_oaep_md(ctx.get(), md), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx.get(), md), 1);
  size_t size = static_cast<size_t>(EVP_PKEY_get_size(key.get()));
  Bytes out(size);
  EXPECT_EQ(EVP_PKEY_encrypt(ctx.get(), out.data(), &size, plain.data(), plain.size()),
            1);
  return out;
}

// RFC 5649 under AES-256.
Bytes KeyWrap(ByteView kek, ByteView plain) {
  const std::unique_ptr<EVP_CIPHER_CTX, Free> ctx(EVP_CIPHER_CTX_new());
  EVP_CIPHER_CTX_set_flags(ctx.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  EXPECT_EQ(EVP_EncryptInit_ex(ctx.get(), EVP_aes_256_wrap_pad(), nullptr, kek.data(),
                               nullptr),
            1);
  Bytes out(plain.size() + 32);
  int n = 0;
  EXPECT_EQ(EVP_EncryptUpdate(ctx.get(), out.data(), &n, plain.data(),
                              static_cast<int>(plain.size())),
            1);
  out.resize(static_cast<size_t>(n));
  return out;
}

class RsaTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    key_ = new RsaPrivateKey(RsaPrivateKey::Generate(2048).value());
  }
  static void TearDownTestSuite() {
    delete key_;
    key_ = nullptr;
  }
  static RsaPrivateKey* key_;
};
RsaPrivateKey* RsaTest::key_ = nullptr;

TEST_F(RsaTest, UnwrapsWhatWasWrappedWithTheSamePadding) {
  const Bytes material(32, 0x42);
  for (const Padding padding : {Padding::kOaepSha1, Padding::kOaepSha256}) {
    const Padding other =
        padding == Padding::kOaepSha1 ? Padding::kOaepSha256 : Padding::kOaepSha1;
    const Bytes wrapped = Wrap(key_->PublicKeyDer(), material, padding);
    EXPECT_EQ(RevealSecret(key_->Unwrap(wrapped, padding).value()), material);
    EXPECT_EQ(key_->Unwrap(wrapped, other).status().error(), Error::kInvalidCiphertext);
  }
}

TEST_F(RsaTest, HostileBytesAreRefused) {
  const auto kBad = Error::kInvalidCiphertext;
  Bytes wrapped = Wrap(key_->PublicKeyDer(), Bytes(32, 1), Padding::kOaepSha256);
  for (size_t size : {0u, 1u, 255u})
    EXPECT_EQ(key_->Unwrap(ByteView(wrapped).first(size), Padding::kOaepSha256)
                  .status()
                  .error(),
              kBad);
  Bytes longer = wrapped;
  longer.push_back(0);
  EXPECT_EQ(key_->Unwrap(longer, Padding::kOaepSha256).status().error(), kBad);
  EXPECT_EQ(key_->Unwrap(Bytes(256, 0xff), Padding::kOaepSha256).status().error(),
            kBad);
  wrapped[100] ^= 1;
  EXPECT_EQ(key_->Unwrap(wrapped, Padding::kOaepSha256).status().error(), kBad);
}

TEST_F(RsaTest, UnwrapsRsaAesKeyWrap) {
  const Bytes kek(kKeySize, 9);
  const Bytes head = Wrap(key_->PublicKeyDer(), kek, Padding::kOaepSha256);
  const auto unwrap = [&](Bytes whole) {
    return key_->UnwrapRsaAes(whole, Padding::kOaepSha256);
  };
  // Also lengths that the padding must make whole.
  for (size_t size : {1u, 7u, 8u, 32u, 33u}) {
    Bytes whole = head;
    const Bytes body = KeyWrap(kek, Bytes(size, 0x42));
    whole.insert(whole.end(), body.begin(), body.end());
    EXPECT_EQ(RevealSecret(unwrap(whole).value()), Bytes(size, 0x42));
    whole.back() ^= 1;
    EXPECT_EQ(unwrap(whole).status().error(), Error::kInvalidCiphertext);
    whole.back() ^= 1;
    whole.pop_back();
    EXPECT_EQ(unwrap(whole).status().error(), Error::kInvalidCiphertext);
  }
  EXPECT_EQ(unwrap(head).status().error(), Error::kInvalidCiphertext);
  EXPECT_EQ(unwrap({}).status().error(), Error::kInvalidCiphertext);
  // A wrapping key of another size than AES-256's.
  Bytes whole = Wrap(key_->PublicKeyDer(), Bytes(16, 9), Padding::kOaepSha256);
  whole.resize(whole.size() + 40);
  EXPECT_EQ(unwrap(whole).status().error(), Error::kInvalidCiphertext);
}

TEST_F(RsaTest, ComesBackFromPkcs8) {
  const auto again = RsaPrivateKey::FromPkcs8(key_->ToPkcs8());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->PublicKeyDer(), key_->PublicKeyDer());
  EXPECT_EQ(RsaPrivateKey::FromPkcs8(SecretText("no key")).status().error(),
            Error::kCorrupt);
  EXPECT_EQ(RsaPrivateKey::FromPkcs8(SecretBytes()).status().error(), Error::kCorrupt);
}

TEST(SecretsTest, TheSourceIsWiped) {
  Bytes source = {1, 2, 3};
  const SecretBytes secret = SecretFrom(source);
  EXPECT_EQ(source, Bytes(3));
  EXPECT_EQ(RevealSecret(secret), (Bytes{1, 2, 3}));
  EXPECT_TRUE(ConstantTimeEqual(CopySecret(secret), secret));
  EXPECT_TRUE(CopySecret(SecretBytes()).empty());
}

}  // namespace
}  // namespace keyfold
