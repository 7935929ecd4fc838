// Do the attributes of folders and files come back as written, and is each
// malformed one refused?
#include <gtest/gtest.h>

#include "fs/format/Folder.h"

namespace keyfold {
namespace {

template <typename Id>
Id Filled(uint8_t byte) {
  Id id;
  id.bytes.fill(byte);
  return id;
}

FolderDescriptor SampleFolder(size_t bindings) {
  FolderDescriptor folder{
      Filled<FolderId>(0x11), "01234567-89ab-cdef-0123-456789abcdef", {}};
  for (size_t i = 0; i < bindings; ++i)
    folder.bindings.push_back(Filled<Binding>(static_cast<uint8_t>(0x40 + i)));
  return folder;
}

Bytes WithMac(Bytes encoded) {
  encoded.resize(encoded.size() + kMacSize, 0x77);
  return encoded;
}

TEST(FolderTest, GoldenBytes) {
  EXPECT_EQ(ToHex(EncodeFolder(SampleFolder(2)).value()),
            "01"
            "11111111111111111111111111111111"
            "30313233343536372d383961622d636465662d303132332d343536373839616263646566"
            "02"
            "40404040404040404040404040404040"
            "41414141414141414141414141414141");
}

TEST(FolderTest, RoundTrip) {
  for (size_t n = 1; n <= kMaxFolderBindings; ++n) {
    const Bytes raw = WithMac(EncodeFolder(SampleFolder(n)).value());
    EXPECT_EQ(raw.size(), 54 + 16 * n + 32);
    EXPECT_EQ(ParseFolder(raw).value(), SampleFolder(n));
    EXPECT_EQ(FolderMacedBytes(raw).size(), 54 + 16 * n);
    EXPECT_EQ(ToHex(FolderMac(raw)), ToHex(Bytes(kMacSize, 0x77)));
  }
}

TEST(FolderTest, EveryByteMutationIsRefusedOrVisible) {
  const Bytes good = WithMac(EncodeFolder(SampleFolder(3)).value());
  for (size_t at = 0; at + kMacSize < good.size(); ++at)
    for (int flip = 1; flip < 256; ++flip) {
      Bytes raw = good;
      raw[at] = static_cast<uint8_t>(raw[at] ^ flip);
      auto parsed = ParseFolder(raw);
      if (!parsed.ok()) {
        const bool newer = at == 0 && raw[0] > kFolderVersion;
        ASSERT_EQ(parsed.status().error(),
                  newer ? Error::kNewerFormat : Error::kCorrupt);
        continue;
      }
      ASSERT_EQ(WithMac(EncodeFolder(*parsed).value()), raw) << at;
    }
}

TEST(FolderTest, OtherSizesAndCountsAreRefused) {
  EXPECT_EQ(EncodeFolder(SampleFolder(0)).status().error(), Error::kValidation);
  EXPECT_EQ(EncodeFolder(SampleFolder(4)).status().error(), Error::kValidation);
  const Bytes good = WithMac(EncodeFolder(SampleFolder(2)).value());
  for (size_t size = 0; size < good.size() + 40; ++size) {
    Bytes raw = good;
    raw.resize(size);
    EXPECT_EQ(ParseFolder(raw).ok(), size == good.size()) << size;
  }
}

TEST(FolderTest, FileNamesRoundTripAndBounds) {
  FileNames names{Filled<FileId>(0x22), {}};
  EXPECT_EQ(EncodeFileNames(names).status().error(), Error::kValidation);
  AddBinding(names.bindings, Filled<Binding>(0xab));
  AddBinding(names.bindings, Filled<Binding>(0xab));
  const Bytes raw = EncodeFileNames(names).value();
  EXPECT_EQ(ToHex(raw),
            "01"
            "22222222222222222222222222222222"
            "0100"
            "abababababababababababababababab");
  EXPECT_EQ(ParseFileNames(raw).value(), names);
  for (size_t size = 0; size < raw.size() + 40; ++size) {
    Bytes other = raw;
    other.resize(size);
    EXPECT_EQ(ParseFileNames(other).ok(), size == raw.size()) << size;
  }
  Bytes newer = raw;
  newer[0] = 2;
  EXPECT_EQ(ParseFileNames(newer).status().error(), Error::kNewerFormat);
  while (names.bindings.size() < kMaxNameBindings) {
    Binding next = names.bindings.back();
    next.bytes[0] = static_cast<uint8_t>(names.bindings.size());
    next.bytes[1] = static_cast<uint8_t>(names.bindings.size() >> 8);
    next.bytes[2] = 1;
    names.bindings.push_back(next);
  }
  EXPECT_EQ(ParseFileNames(EncodeFileNames(names).value()).value(), names);
  EXPECT_LE(EncodeFileNames(names).value().size(), 65536u);
  names.bindings.push_back(Filled<Binding>(0x01));
  EXPECT_EQ(EncodeFileNames(names).status().error(), Error::kValidation);
}

TEST(FolderTest, BindingsAreASet) {
  std::vector<Binding> bindings = {Filled<Binding>(1), Filled<Binding>(2)};
  EXPECT_TRUE(HasBinding(bindings, Filled<Binding>(2)));
  EXPECT_FALSE(HasBinding(bindings, Filled<Binding>(3)));
  RemoveBinding(bindings, Filled<Binding>(1));
  EXPECT_EQ(bindings, std::vector<Binding>{Filled<Binding>(2)});
}

TEST(FolderTest, BindingInputIsCanonical) {
  EXPECT_EQ(ToHex(BindingInput("st", Filled<FileId>(1), Filled<FolderId>(2), "nm")),
            "0700"
            "62696e64696e67"
            "0200"
            "7374"
            "01010101010101010101010101010101"
            "02020202020202020202020202020202"
            "0200"
            "6e6d");
  EXPECT_NE(BindingInput("ab", Filled<FileId>(1), FolderId(), "c"),
            BindingInput("a", Filled<FileId>(1), FolderId(), "bc"));
}

}  // namespace
}  // namespace keyfold
