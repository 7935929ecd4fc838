// Does hostile input only ever fail, and has every byte string one spelling?
#include <gtest/gtest.h>

#include "kms/base/Bytes.h"

namespace keyfold {
namespace {

TEST(ByteReaderTest, NothingIsTakenPastTheEnd) {
  const Bytes input = {1, 2, 3};
  ByteReader reader(input);
  EXPECT_FALSE(reader.Take(4));
  EXPECT_FALSE(reader.Take(SIZE_MAX));
  EXPECT_FALSE(reader.Integer<uint32_t>());
  EXPECT_EQ(reader.remaining(), 3u);  // a getter that fails takes nothing
  EXPECT_EQ(reader.Integer<uint16_t>(), 0x0201);
  EXPECT_FALSE(reader.Integer<uint16_t>());
  EXPECT_EQ(reader.Integer<uint8_t>(), 3);
  EXPECT_FALSE(reader.Integer<uint8_t>());
  EXPECT_EQ(reader.Take(0)->size(), 0u);
  EXPECT_FALSE(ByteReader(ByteView()).Take(1));
}

TEST(ByteReaderTest, ALengthIsNotBelieved) {
  for (const Bytes& hostile :
       {Bytes{}, Bytes{1}, Bytes{1, 0}, Bytes{0xff, 0xff}, Bytes{0xff, 0xff, 1, 2},
        Bytes{3, 0, 1, 2}, Bytes{0, 1, 7}}) {
    ByteReader reader(hostile);
    EXPECT_FALSE(reader.Prefixed());
    EXPECT_EQ(reader.remaining(), hostile.size());
  }
  const Bytes good = {2, 0, 8, 9, 0, 0};
  ByteReader reader(good);
  const auto taken = reader.Prefixed();
  ASSERT_TRUE(taken);
  EXPECT_EQ(Bytes(taken->begin(), taken->end()), (Bytes{8, 9}));
  EXPECT_TRUE(reader.Prefixed()->empty());
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(ByteWriterTest, WhatIsWrittenIsReadBack) {
  ByteWriter writer;
  writer.Integer(uint8_t{0xfe});
  writer.Integer(uint16_t{0xfedc});
  writer.Integer(uint32_t{0xfedcba98});
  writer.Integer(uint64_t{0xfedcba9876543210});
  writer.Prefixed(std::string_view("text"));
  writer.Append(std::string_view("end"));
  writer.PadTo(30);
  EXPECT_EQ(ToHex(writer.bytes()),
            "fe"
            "dcfe"
            "98badcfe"
            "1032547698badcfe"
            "040074657874"
            "656e64"
            "000000000000");
  ByteReader reader(writer.bytes());
  EXPECT_EQ(reader.Integer<uint8_t>(), 0xfe);
  EXPECT_EQ(reader.Integer<uint16_t>(), 0xfedc);
  EXPECT_EQ(reader.Integer<uint32_t>(), 0xfedcba98u);
  EXPECT_EQ(reader.Integer<uint64_t>(), 0xfedcba9876543210u);
  EXPECT_EQ(AsText(*reader.Prefixed()), "text");
  EXPECT_EQ(AsText(*reader.Take(3)), "end");
  EXPECT_EQ(reader.remaining(), 6u);
}

TEST(ByteWriterDeathTest, ALengthThatDoesNotFitIsAnInvariant) {
  ByteWriter writer;
  writer.Prefixed(Bytes(65535));
  EXPECT_EQ(writer.size(), 65537u);
  EXPECT_DEATH(writer.Prefixed(Bytes(65536)), "");
}

TEST(HexTest, ReadsBothCasesAndNothingElse) {
  EXPECT_EQ(ToHex(Bytes{0, 0x1f, 0xff}), "001fff");
  EXPECT_EQ(FromHex("001FfF"), (Bytes{0, 0x1f, 0xff}));
  EXPECT_EQ(FromHex(""), Bytes());
  for (const char* bad :
       {"0", "001", "0g", "g0", " 0", "0x00", "00 ", "-1", "\xff\xff"})
    EXPECT_FALSE(FromHex(bad)) << bad;
  EXPECT_FALSE(FromHex(std::string_view("0\0", 2)));
}

// RFC 4648 section 10.
TEST(Base64Test, PublishedVectors) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [text, encoded] : vectors) {
    EXPECT_EQ(ToBase64(AsBytes(text)), encoded);
    const auto decoded = FromBase64(encoded);
    ASSERT_TRUE(decoded) << encoded;
    EXPECT_EQ(AsText(*decoded), text);
  }
  EXPECT_EQ(ToBase64(Bytes{0xfb, 0xff}), "+/8=");
  EXPECT_EQ(ToBase64Url(Bytes{0xfb, 0xff}), "-_8");
}

TEST(Base64Test, EveryByteStringHasOneSpelling) {
  for (const char* bad :
       {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm=v", "====", "=",
        "Zm9v====", "Zm9v=", "Zm9\n", " Zg=", "Z-8=", "Zg==Zg==", "Zm8=Zm8="})
    EXPECT_FALSE(FromBase64(bad)) << bad;
  for (const char* bad : {"Zg==", "Zh", "Zm9", "Z", "Z+8", "-_9", "Zm 9"})
    EXPECT_FALSE(FromBase64Url(bad)) << bad;
  for (size_t size = 0; size < 100; ++size) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 37 + size);
    EXPECT_EQ(FromBase64(ToBase64(bytes)), bytes);
    EXPECT_EQ(FromBase64Url(ToBase64Url(bytes)), bytes);
    EXPECT_EQ(FromHex(ToHex(bytes)), bytes);
  }
}

}  // namespace
}  // namespace keyfold
