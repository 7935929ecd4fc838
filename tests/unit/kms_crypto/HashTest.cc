// Do hashes, MACs and key derivation agree with the publications?
#include "Vectors.h"

namespace keyfold {
namespace {

// FIPS 180-4's examples, one and two blocks, and the empty and the long message.
TEST(Sha256Test, PublishedVectors) {
  EXPECT_EQ(ToHex(Sha256({})),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ToHex(Sha256(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(Sha256(
                AsBytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(ToHex(Sha256(Bytes(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// RFC 4231, test cases 1, 2, 3, 6 and 7.
TEST(HmacSha256Test, PublishedVectors) {
  const auto mac = [](Bytes key, ByteView data) {
    return ToHex(HmacSha256(Secret(std::move(key)), data));
  };
  EXPECT_EQ(mac(Bytes(20, 0x0b), AsBytes("Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(mac({'J', 'e', 'f', 'e'}, AsBytes("what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(mac(Bytes(20, 0xaa), Bytes(50, 0xdd)),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(mac(Bytes(131, 0xaa),
                AsBytes("Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(mac(Bytes(131, 0xaa),
                AsBytes("This is a test using a larger than block-size key and a "
                        "larger than block-size data. The key needs to be hashed "
                        "before being used by the HMAC algorithm.")),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

// RFC 4231, test cases 1 and 6.
TEST(HmacTest, PublishedVectorsOfTheWholeFamily) {
  const auto mac = [](MacHash hash) {
    return ToHex(Hmac(hash, Secret(Bytes(20, 0x0b)), AsBytes("Hi There")));
  };
  EXPECT_EQ(mac(MacHash::kSha224),
            "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22");
  EXPECT_EQ(mac(MacHash::kSha256),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(mac(MacHash::kSha384),
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
            "faea9ea9076ede7f4af152e8b2fa9cb6");
  EXPECT_EQ(mac(MacHash::kSha512),
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
            "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854");
  EXPECT_EQ(ToHex(Hmac(MacHash::kSha256, Secret(Bytes(131, 0xaa)),
                       AsBytes("Test Using Larger Than Block-Size Key - Hash Key "
                               "First"))),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HmacSha256Test, TheKeyBeforeIsForgotten) {
  const Sha256Digest first = HmacSha256(Secret(Bytes(32, 1)), AsBytes("x"));
  (void)HmacSha256(Secret(Bytes(32, 2)), AsBytes("y"));
  EXPECT_EQ(HmacSha256(Secret(Bytes(32, 1)), AsBytes("x")), first);
}

// RFC 5869, appendix A.1 to A.3.
TEST(HkdfTest, PublishedVectors) {
  const auto derive = [](Bytes key, std::string_view salt, std::string_view info,
                         size_t size) {
    const SecretBytes secret = Secret(std::move(key));
    const Bytes out = HkdfPublic(secret, Hex(salt), Hex(info), size);
    EXPECT_EQ(RevealSecret(Hkdf(secret, Hex(salt), Hex(info), size)), out);
    return ToHex(out);
  };
  EXPECT_EQ(
      derive(Bytes(22, 0x0b), "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9", 42),
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5"
      "b887185865");
  Bytes key, salt, info;
  for (int i = 0; i < 80; ++i) {
    key.push_back(static_cast<uint8_t>(i));
    salt.push_back(static_cast<uint8_t>(0x60 + i));
    info.push_back(static_cast<uint8_t>(0xb0 + i));
  }
  EXPECT_EQ(derive(key, ToHex(salt), ToHex(info), 82),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99ca"
            "c7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c"
            "01d5c1f3434f1d87");
  EXPECT_EQ(derive(Bytes(22, 0x0b), "", "", 42),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395fa"
            "a4b61a96c8");
}

// RFC 7914 section 12: ours is the first half of its 64 bytes, which PBKDF2 makes
// block by block.
TEST(ScryptTest, PublishedVectors) {
  const auto derive = [](std::string_view passphrase, std::string_view salt,
                         unsigned log2_n, unsigned r, unsigned p) {
    const auto key = Scrypt(SecretText(passphrase), AsBytes(salt), log2_n, r, p);
    EXPECT_TRUE(key.ok());
    return key.ok() ? ToHex(RevealSecret(*key)) : "";
  };
  EXPECT_EQ(derive("password", "NaCl", 10, 8, 16),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162");
  EXPECT_EQ(derive("pleaseletmein", "SodiumChloride", 14, 8, 1),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

TEST(ScryptTest, ParametersFromAFileAreNotTrusted) {
  const SecretBytes passphrase = SecretText("x");
  for (const auto& [log2_n, r, p] : {std::tuple{31u, 8u, 1u},
                                     {64u, 8u, 1u},
                                     {0u, 8u, 1u},
                                     {10u, 0u, 1u},
                                     {10u, 8u, 0u},
                                     {30u, 8u, 1u},
                                     {10u, 0xffffffffu, 0xffffffffu}})
    EXPECT_EQ(Scrypt(passphrase, AsBytes("salt"), log2_n, r, p).status().error(),
              Error::kInternal)
        << log2_n << " " << r << " " << p;
}

TEST(ConstantTimeEqualTest, ComparesLengthToo) {
  EXPECT_TRUE(ConstantTimeEqual(Bytes{1, 2}, Bytes{1, 2}));
  EXPECT_FALSE(ConstantTimeEqual(Bytes{1, 2}, Bytes{1, 3}));
  EXPECT_FALSE(ConstantTimeEqual(Bytes{1, 2}, Bytes{1}));
  EXPECT_TRUE(ConstantTimeEqual(Bytes{}, Bytes{}));
  EXPECT_FALSE(ConstantTimeEqual(SecretText("a"), SecretText("b")));
  EXPECT_TRUE(ConstantTimeEqual(SecretText("a"), SecretText("a")));
}

}  // namespace
}  // namespace keyfold
