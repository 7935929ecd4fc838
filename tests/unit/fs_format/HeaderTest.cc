// Does a header slot come back as it was written, and is every byte that no
// writer makes refused?
#include <gtest/gtest.h>

#include <random>

#include "fs/format/Header.h"

namespace keyfold {
namespace {

HeaderSlot Sample() {
  HeaderSlot slot;
  slot.generation = 0x0102030405060708;
  for (size_t i = 0; i < kIdSize; ++i) {
    slot.file_id.bytes[i] = static_cast<uint8_t>(0x10 + i);
    slot.home_folder.bytes[i] = static_cast<uint8_t>(0x20 + i);
  }
  slot.key_id = "01234567-89ab-cdef-0123-456789abcdef";
  slot.blob = {0xb1, 0xb2, 0xb3};
  slot.commitment.fill(0xcc);
  slot.length = 1000000;  // 5 groups
  slot.key_epoch = 3;
  slot.seals_in_epoch = 77;
  EXPECT_TRUE(slot.holes.Add({GroupNo(1), 2}).ok());
  EXPECT_TRUE(slot.holes.Add({GroupNo(4), 1}).ok());
  slot.synced_length = 999999;
  slot.checkpoint = 0x1112131415161718;
  return slot;
}

Bytes WithMac(const HeaderSlot& slot) {
  Bytes raw = EncodeHeaderSlot(slot).value();
  raw.resize(kHeaderSlotSize, 0x3a);
  return raw;
}

Error ParseError(ByteView raw) { return ParseHeaderSlot(raw).status().error(); }

TEST(HeaderTest, GoldenBytes) {
  std::string expected =
      "4b4559464f4c4401"
      "0200"
      "0100"
      "0807060504030201"
      "101112131415161718191a1b1c1d1e1f"
      "202122232425262728292a2b2c2d2e2f"
      "30313233343536372d383961622d636465662d303132332d343536373839616263646566"
      "0300"
      "b1b2b3";
  expected += std::string(2 * 317, '0');
  for (int i = 0; i < 32; ++i) expected += "cc";
  expected +=
      "40420f0000000000"
      "03000000"
      "4d00000000000000"
      "0200"
      "0100000000000000"
      "0200000000000000"
      "0400000000000000"
      "0100000000000000";
  expected += std::string(2 * (848 - 464 - 32), '0');
  expected +=
      "00"
      "3f420f0000000000"
      "1817161514131211";
  expected += std::string(2 * (992 - 865), '0');
  EXPECT_EQ(ToHex(EncodeHeaderSlot(Sample()).value()), expected);
}

TEST(HeaderTest, RoundTripOfRandomSlots) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    HeaderSlot slot = Sample();
    slot.generation = random();
    for (auto& byte : slot.file_id.bytes) byte = static_cast<uint8_t>(random() | 1);
    slot.blob.assign(1 + random() % kMaxBlobSize, static_cast<uint8_t>(random()));
    slot.length = random() % (kMaxFileSize + 1) >> random() % 60;
    slot.key_epoch = static_cast<uint32_t>(random() % (uint64_t{kMaxKeyEpoch} + 1));
    slot.seals_in_epoch = random() % (kMaxSealsPerEpoch + 1);
    slot.holes = HoleList();
    for (int i = 0; i < 30; ++i)
      (void)slot.holes.Add({GroupNo(1 + random() % 1000), 1 + random() % 9});
    slot.holes.TruncateTo(slot.length);
    slot.synced_length = slot.length - random() % (slot.length + 1);
    auto parsed = ParseHeaderSlot(WithMac(slot));
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
    ASSERT_EQ(*parsed, slot);
  }
}

TEST(HeaderTest, AFormerKeyMakesFormatThree) {
  HeaderSlot slot = Sample();
  slot.former.emplace().end_epoch = 3;
  for (size_t i = 0; i < kSealedFormerKeySize; ++i)
    slot.former->sealed[i] = static_cast<uint8_t>(0x40 + i);
  Bytes raw = WithMac(slot);
  EXPECT_EQ(ToHex(ByteView(raw).subspan(8, 2)), "0300");
  EXPECT_EQ(ToHex(ByteView(raw).subspan(865, 6)), "030000004041");
  EXPECT_EQ(ToHex(ByteView(raw).subspan(927, 4)), "7a7b0000");
  const auto parsed = ParseHeaderSlot(raw);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(*parsed, slot);
  for (const uint8_t epoch : {0, 4}) {  // none, and one that is not begun
    raw[865] = epoch;
    EXPECT_EQ(ParseError(raw), Error::kCorrupt) << int{epoch};
  }
  raw[865] = 3;
  raw[929] = 1;
  EXPECT_EQ(ParseError(raw), Error::kCorrupt);
  slot.former->end_epoch = 4;
  EXPECT_EQ(EncodeHeaderSlot(slot).status().error(), Error::kValidation);
}

// Whatever a changed byte leads to, it is a refusal, or a slot that encodes to
// exactly the changed bytes, so that the MAC covers every bit of meaning.
TEST(HeaderTest, EveryByteMutationIsRefusedOrVisible) {
  const Bytes good = WithMac(Sample());
  for (size_t at = 0; at < kHeaderMacOffset; ++at)
    for (int flip = 1; flip < 256; ++flip) {
      Bytes raw = good;
      raw[at] = static_cast<uint8_t>(raw[at] ^ flip);
      auto parsed = ParseHeaderSlot(raw);
      if (!parsed.ok()) {
        const bool newer = at == 8 || at == 9;
        ASSERT_EQ(parsed.status().error(), newer && (raw[9] != 0 || raw[8] > 3)
                                               ? Error::kNewerFormat
                                               : Error::kCorrupt)
            << at << " " << flip;
        continue;
      }
      ASSERT_FALSE(at == 8 && raw[8] == 1) << "fields that format 1 lacks are read";
      const Bytes again = EncodeHeaderSlot(*parsed).value();
      ASSERT_TRUE(std::equal(again.begin(), again.end(), raw.begin()))
          << at << " " << flip;
    }
}

TEST(HeaderTest, EveryBitOfPaddingIsChecked) {
  const Bytes good = WithMac(Sample());
  auto check = [&](size_t from, size_t to) {
    for (size_t at = from; at < to; ++at) {
      Bytes raw = good;
      raw[at] = 1;
      EXPECT_EQ(ParseError(raw), Error::kCorrupt) << at;
    }
  };
  check(90 + 3, 410);
  check(464 + 32, 848);
  check(865, 992);
}

TEST(HeaderTest, FormatOneHadNoCheckpoints) {
  Bytes raw = WithMac(Sample());
  raw[8] = 1;
  EXPECT_EQ(ParseError(raw), Error::kCorrupt);  // its padding is not zero
  std::fill(raw.begin() + 849, raw.begin() + 865, uint8_t{0});
  HeaderSlot expected = Sample();
  expected.synced_length = expected.length;
  expected.checkpoint = 0;
  const auto parsed = ParseHeaderSlot(raw);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(*parsed, expected);
}

TEST(HeaderTest, OneFlagIsKnown) {
  HeaderSlot slot = Sample();
  slot.torn = !slot.torn;
  const auto parsed = ParseHeaderSlot(WithMac(slot));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, slot);
  Bytes raw = WithMac(slot);
  for (int flags = 2; flags < 256; ++flags) {
    raw[848] = static_cast<uint8_t>(flags);
    EXPECT_EQ(ParseError(raw), Error::kCorrupt) << flags;
  }
}

TEST(HeaderTest, RandomBytesAndOtherSizesAreRefused) {
  std::mt19937_64 random(2);
  const Bytes good = WithMac(Sample());
  for (size_t size = 0; size < 1100; ++size) {
    Bytes raw = good;
    raw.resize(size);
    if (size != kHeaderSlotSize) {
      ASSERT_EQ(ParseError(raw), Error::kCorrupt);
    }
  }
  for (int round = 0; round < 5000; ++round) {
    Bytes raw = good;
    for (int i = 0; i < 40; ++i)
      raw[8 + random() % (kHeaderSlotSize - 8)] = static_cast<uint8_t>(random());
    (void)ParseHeaderSlot(raw);
  }
  EXPECT_EQ(ParseError(Bytes(kHeaderSlotSize)), Error::kCorrupt);
}

TEST(HeaderTest, EncodeRefusesWhatParseWould) {
  auto error = [](auto change) {
    HeaderSlot slot = Sample();
    change(slot);
    return EncodeHeaderSlot(slot).status().error();
  };
  const Error kBad = Error::kValidation;
  EXPECT_EQ(error([](HeaderSlot& s) { s.key_id[0] = 'G'; }), kBad);
  EXPECT_EQ(error([](HeaderSlot& s) { s.key_id.clear(); }), kBad);
  EXPECT_EQ(error([](HeaderSlot& s) { s.blob.clear(); }), kBad);
  EXPECT_EQ(error([](HeaderSlot& s) { s.blob.resize(kMaxBlobSize + 1); }), kBad);
  EXPECT_EQ(error([](HeaderSlot& s) { s.length = kMaxFileSize + 1; }), kBad);
  EXPECT_EQ(error([](HeaderSlot& s) { s.length = s.synced_length = 100; }),
            kBad);  // holes behind it
  EXPECT_EQ(error([](HeaderSlot& s) { s.synced_length = s.length + 1; }), kBad);
  EXPECT_EQ(error([](HeaderSlot& s) { s.key_epoch = kMaxKeyEpoch + 1; }), kBad);
  EXPECT_EQ(error([](HeaderSlot& s) { s.seals_in_epoch = kMaxSealsPerEpoch + 1; }),
            kBad);
  EXPECT_EQ(error([](HeaderSlot& s) { s.file_id = FileId(); }), kBad);
}

}  // namespace
}  // namespace keyfold
