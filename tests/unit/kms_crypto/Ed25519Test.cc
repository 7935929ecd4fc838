// Are Ed25519 signatures those of RFC 8032, and is nothing else taken for one?
#include "Vectors.h"

namespace keyfold {
namespace {

// RFC 8032 section 7.1, TEST 2: one byte is signed.
TEST(SigningKeyTest, SignsAsThePublication) {
  const SigningKey key = *SigningKey::FromSeed(
      Secret(Hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")));
  EXPECT_EQ(ToHex(key.PublicKeyDer()),
            "302a300506032b6570032100"
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const Bytes signature = key.Sign(Bytes{0x72});
  EXPECT_EQ(ToHex(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  EXPECT_TRUE(VerifySignature(key.PublicKeyDer(), Bytes{0x72}, signature));
}

TEST(SigningKeyTest, TheSeedIsTheKey) {
  const SigningKey key = SigningKey::Generate();
  const SigningKey again = *SigningKey::FromSeed(key.Seed());
  EXPECT_EQ(again.PublicKeyDer(), key.PublicKeyDer());
  EXPECT_EQ(again.Sign(Bytes{1, 2}), key.Sign(Bytes{1, 2}));
  EXPECT_EQ(SigningKey::FromSeed(RandomSecret(31)).status().error(), Error::kCorrupt);
}

TEST(SigningKeyTest, NothingElseVerifies) {
  const SigningKey key = SigningKey::Generate(), other = SigningKey::Generate();
  const Bytes message = {1, 2, 3};
  const Bytes signature = key.Sign(message), der = key.PublicKeyDer();
  for (size_t at = 0; at < signature.size(); ++at) {
    Bytes changed = signature;
    changed[at] ^= 1;
    EXPECT_FALSE(VerifySignature(der, message, changed)) << at;
  }
  EXPECT_FALSE(VerifySignature(der, Bytes{1, 2, 4}, signature));
  EXPECT_FALSE(VerifySignature(other.PublicKeyDer(), message, signature));
  EXPECT_FALSE(VerifySignature(der, message, ByteView(signature).first(63)));
  EXPECT_FALSE(VerifySignature(ByteView(der).first(20), message, signature));
  EXPECT_FALSE(VerifySignature({}, message, {}));
}

}  // namespace
}  // namespace keyfold
