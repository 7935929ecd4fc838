// Do block entries and what seals authenticate have exactly the bytes of
// FORMAT.md?
#include <gtest/gtest.h>

#include <random>

#include "fs/format/BlockEntry.h"

namespace keyfold {
namespace {

Bytes Serialized(const BlockEntry& entry) {
  Bytes raw(kEntrySize, 0xee);
  entry.Serialize(raw);
  return raw;
}

TEST(BlockEntryTest, GoldenBytes) {
  BlockEntry entry;
  entry.seals[0].nonce.fill(0xa1);
  entry.seals[0].tag.fill(0xb2);
  entry.seals[0].epoch = 0;
  entry.seals[1].nonce.fill(0xc3);
  entry.seals[1].tag.fill(0xd4);
  entry.seals[1].epoch = kMaxKeyEpoch;
  entry.seals[1].hole = true;
  EXPECT_EQ(ToHex(Serialized(entry)),
            "a1a1a1a1a1a1a1a1a1a1a1a1"
            "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"
            "01000000"
            "c3c3c3c3c3c3c3c3c3c3c3c3"
            "d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4"
            "ffffffff");
  EXPECT_EQ(BlockEntry::Parse(Serialized(entry)), entry);
}

TEST(BlockEntryTest, ZeroesAreAbsentSeals) {
  const BlockEntry entry = BlockEntry::Parse(Bytes(kEntrySize));
  EXPECT_TRUE(entry.IsAbsent());
  EXPECT_EQ(entry, BlockEntry());
  EXPECT_EQ(Serialized(entry), Bytes(kEntrySize));
}

TEST(BlockEntryTest, AnEpochFieldOfZeroIsAbsentWhateverElseIsSet) {
  Bytes raw(kEntrySize, 0xff);
  raw[28] = raw[29] = raw[30] = 0;
  raw[31] = 0x80;
  const BlockEntry entry = BlockEntry::Parse(raw);
  EXPECT_EQ(entry.seals[0], Seal());
  EXPECT_FALSE(entry.seals[1].IsAbsent());
}

TEST(BlockEntryTest, RandomBytesRoundTrip) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    Bytes raw(kEntrySize);
    for (auto& byte : raw) byte = static_cast<uint8_t>(random());
    const BlockEntry entry = BlockEntry::Parse(raw);
    ASSERT_FALSE(entry.IsAbsent());
    ASSERT_EQ(Serialized(entry), raw);
  }
}

TEST(BlockEntryTest, AadGoldenBytes) {
  FileId file;
  file.bytes.fill(0x5a);
  EXPECT_EQ(ToHex(BlockAad(file, BlockNo(0x0102030405060708), false)),
            "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"
            "0807060504030201"
            "00");
  EXPECT_EQ(ToHex(BlockAad(file, BlockNo(1), true)),
            "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"
            "0100000000000000"
            "01");
}

TEST(IdsTest, LabelsAreFrozen) {
  EXPECT_EQ(ToHex(ContentKeyInfo(0x01020304)),
            ToHex(AsBytes("keyfold content v1")) + "04030201");
  EXPECT_EQ(kHeaderKeyLabel, "keyfold header v1");
  EXPECT_EQ(kCommitmentLabel, "keyfold commitment v1");
  EXPECT_EQ(kNamesKeyLabel, "keyfold names v1");
  EXPECT_EQ(kBindingsKeyLabel, "keyfold bindings v1");
  EXPECT_EQ(kXattrsKeyLabel, "keyfold xattrs v1");
}

TEST(IdsTest, KeyIdIsAUuid) {
  EXPECT_TRUE(IsKeyId("01234567-89ab-cdef-0123-456789abcdef"));
  EXPECT_FALSE(IsKeyId("01234567-89AB-cdef-0123-456789abcdef"));
  EXPECT_FALSE(IsKeyId("0123456789ab-cdef-0123-456789abcdef0"));
  EXPECT_FALSE(IsKeyId("01234567-89ab-cdef-0123-456789abcde"));
  EXPECT_FALSE(IsKeyId(""));
}

}  // namespace
}  // namespace keyfold
