// Does authenticated encryption agree with the publications, and refuse whatever
// differs in any bit or length?
#include "Vectors.h"

namespace keyfold {
namespace {

struct GcmVector {
  const char *key, *nonce, *aad, *plain, *cipher, *tag;
};

// McGrew and Viega, The Galois/Counter Mode of Operation, the submission behind
// NIST SP 800-38D: test cases 13 to 16, AES-256 with nonces of 96 bits.
const GcmVector kGcmVectors[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000",
     "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000",
     "000000000000000000000000", "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
     "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
     "b094dac5d93471bdec1a502270e3cc6c"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
     "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

TEST(AeadTest, PublishedVectors) {
  for (const GcmVector& vector : kGcmVectors) {
    const Aead aead(Secret(Hex(vector.key)));
    const Bytes plain = Hex(vector.plain), nonce = Hex(vector.nonce),
                aad = Hex(vector.aad);
    Bytes cipher(plain.size()), tag(kGcmTagSize), back(plain.size());
    aead.Seal(nonce, aad, plain, cipher, tag);
    EXPECT_EQ(ToHex(cipher), vector.cipher);
    EXPECT_EQ(ToHex(tag), vector.tag);
    EXPECT_TRUE(aead.Open(nonce, aad, cipher, tag, back));
    EXPECT_EQ(back, plain);
    // In place, and under a key that was used before.
    Bytes buffer = plain;
    aead.Seal(nonce, aad, buffer, buffer, tag);
    EXPECT_EQ(ToHex(buffer), vector.cipher);
    EXPECT_TRUE(aead.Open(nonce, aad, buffer, tag, buffer));
    EXPECT_EQ(buffer, plain);
  }
}

TEST(AeadTest, EveryBitCounts) {
  const SecretBytes key = Secret(Bytes(kKeySize, 5));
  const Aead aead(key);
  const Bytes nonce(kGcmNonceSize, 1), aad = {1, 2, 3}, plain(20, 9);
  Bytes cipher(plain.size()), tag(kGcmTagSize);
  aead.Seal(nonce, aad, plain, cipher, tag);
  const auto refused = [&](ByteView n, ByteView a, ByteView c, ByteView t) {
    Bytes out(c.size(), 0xee);
    EXPECT_FALSE(aead.Open(n, a, c, t, out));
    EXPECT_EQ(out, Bytes(c.size())) << "what did not authenticate was left behind";
  };
  const auto each_bit = [](const Bytes& good, const auto& check) {
    for (size_t bit = 0; bit < good.size() * 8; ++bit) {
      Bytes bad = good;
      bad[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      check(bad);
    }
  };
  each_bit(nonce, [&](const Bytes& bad) { refused(bad, aad, cipher, tag); });
  each_bit(aad, [&](const Bytes& bad) { refused(nonce, bad, cipher, tag); });
  each_bit(cipher, [&](const Bytes& bad) { refused(nonce, aad, bad, tag); });
  each_bit(tag, [&](const Bytes& bad) { refused(nonce, aad, cipher, bad); });
  refused(nonce, {}, cipher, tag);
  refused(nonce, aad, ByteView(cipher).first(19), tag);
  refused(nonce, aad, {}, tag);
  Bytes out(plain.size());
  EXPECT_FALSE(Aead(Secret(Bytes(kKeySize, 6))).Open(nonce, aad, cipher, tag, out));
}

TEST(AeadDeathTest, WrongSizesAreInvariants) {
  EXPECT_DEATH(Aead(Secret(Bytes(16))), "");
  const Aead aead(Secret(Bytes(kKeySize)));
  Bytes four(4), five(5), tag(kGcmTagSize);
  const Bytes nonce(kGcmNonceSize);
  EXPECT_DEATH(aead.Seal(four, {}, four, four, tag), "");
  EXPECT_DEATH(aead.Seal(nonce, {}, four, five, tag), "");
  EXPECT_DEATH(aead.Seal(nonce, {}, four, four, four), "");
  EXPECT_DEATH((void)aead.Open(nonce, {}, four, four, four), "");
}

TEST(SealedTest, OpensOnlyAsItWasSealed) {
  const SecretBytes key = Secret(Bytes(kKeySize, 5)),
                    other = Secret(Bytes(kKeySize, 6));
  const SecretBytes secret = SecretText("thirty-two bytes of a secret key");
  const Bytes aad = {1};
  const Bytes sealed = SealSecret(key, aad, secret);
  EXPECT_EQ(sealed.size(), secret.size() + kGcmNonceSize + kGcmTagSize);
  EXPECT_NE(sealed, SealSecret(key, aad, secret)) << "the nonce is random";
  EXPECT_TRUE(ConstantTimeEqual(OpenSecret(key, aad, sealed).value(), secret));
  EXPECT_EQ(OpenBytes(key, aad, SealBytes(key, aad, aad)).value(), aad);
  const auto kBad = Error::kInvalidCiphertext;
  EXPECT_EQ(OpenSecret(other, aad, sealed).status().error(), kBad);
  EXPECT_EQ(OpenSecret(key, {}, sealed).status().error(), kBad);
  for (size_t size = 0; size < sealed.size(); ++size) {
    const ByteView cut = ByteView(sealed).first(size);
    EXPECT_EQ(OpenSecret(key, aad, cut).status().error(), kBad) << size;
    EXPECT_EQ(OpenBytes(key, aad, cut).status().error(), kBad) << size;
  }
  Bytes longer = sealed;
  longer.push_back(0);
  EXPECT_EQ(OpenBytes(key, aad, longer).status().error(), kBad);
}

// The AES-256 case beside those of RFC 5297 appendix A.1, as other
// implementations of AES-SIV publish it (the RFC itself has AES-128 alone).
TEST(DeterministicAeadTest, PublishedVector) {
  const DeterministicAead siv(
      Secret(Hex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f06f6e6d6c6b6a69686766656463626160"
                 "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f")));
  const Bytes aad = Hex("101112131415161718191a1b1c1d1e1f2021222324252627");
  const Bytes plain = Hex("112233445566778899aabbccddee");
  const Bytes sealed = siv.Seal(aad, plain);
  EXPECT_EQ(ToHex(sealed),
            "f125274c598065cfc26b0e71575029088b035217e380cac8919ee800c126");
  EXPECT_EQ(siv.Open(aad, sealed).value(), plain);
}

TEST(DeterministicAeadTest, EqualInputsGiveEqualOutputsAndNothingElseOpens) {
  const DeterministicAead siv(Secret(Bytes(64, 3)));
  const Bytes aad = {1, 2}, plain = {7, 8, 9};
  const Bytes sealed = siv.Seal(aad, plain);
  EXPECT_EQ(siv.Seal(aad, plain), sealed);
  EXPECT_NE(siv.Seal({}, plain), sealed);
  const auto kBad = Error::kInvalidCiphertext;
  EXPECT_EQ(siv.Open({}, sealed).status().error(), kBad);
  EXPECT_EQ(DeterministicAead(Secret(Bytes(64, 4))).Open(aad, sealed).status().error(),
            kBad);
  for (size_t i = 0; i < sealed.size(); ++i) {
    Bytes bad = sealed;
    bad[i] ^= 0x80;
    EXPECT_EQ(siv.Open(aad, bad).status().error(), kBad) << i;
    EXPECT_EQ(siv.Open(aad, ByteView(sealed).first(i)).status().error(), kBad) << i;
  }
  EXPECT_DEATH(DeterministicAead(Secret(Bytes(32))), "");
}

}  // namespace
}  // namespace keyfold
