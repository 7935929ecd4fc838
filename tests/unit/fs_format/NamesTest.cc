// Is every valid name expressible on disk, and each backing name of one kind?
#include <gtest/gtest.h>

#include <cerrno>

#include "fs/format/Names.h"

namespace keyfold {
namespace {

TEST(NamesTest, EverySizeOfNameFitsADirectoryEntry) {
  for (size_t size = 1; size <= kMaxNameSize; ++size) {
    const Bytes sealed(size + kSivOverhead, static_cast<uint8_t>(size));
    ASSERT_TRUE(IsSealedNameSize(sealed.size()));
    ASSERT_EQ(IsLongSealed(sealed.size()), size > 175);
    if (IsLongSealed(sealed.size())) continue;
    const std::string backing = ShortBackingName(sealed);
    ASSERT_LE(backing.size(), 255u);
    ASSERT_EQ(ClassifyBackingName(backing), BackingNameKind::kShort);
    ASSERT_EQ(SealedFromShort(backing).value(), sealed);
  }
  EXPECT_FALSE(IsSealedNameSize(16));
  EXPECT_FALSE(IsSealedNameSize(272));
  EXPECT_EQ(ToBase64Url(Bytes(176 + 16)).size(), 256u);
}

TEST(NamesTest, LongNamesGoldenStrings) {
  const std::string long_name = LongBackingName(Bytes(32, 0xff));
  EXPECT_EQ(long_name, "=__________________________________________8");
  EXPECT_EQ(SidecarName(long_name), long_name + ".name");
  EXPECT_EQ(LongOfSidecar(SidecarName(long_name)), long_name);
  EXPECT_EQ(ClassifyBackingName(long_name), BackingNameKind::kLong);
  EXPECT_EQ(ClassifyBackingName(long_name + ".name"), BackingNameKind::kSidecar);
}

TEST(NamesTest, ForeignNamesAreRecognised) {
  const std::string long_name = LongBackingName(Bytes(32, 0xff));
  const std::string foreign[] = {"",
                                 ".",
                                 "..",
                                 "lost+found",
                                 "readme.txt",
                                 "AAAA",
                                 ToBase64Url(Bytes(16)),
                                 ToBase64Url(Bytes(192)),
                                 long_name + "x",
                                 long_name + ".nam",
                                 long_name.substr(0, 43),
                                 "=" + std::string(42, '_') + "9",  // stray bits
                                 ".name",
                                 "=",
                                 std::string(300, 'A'),
                                 ToBase64Url(Bytes(20)) + "="};
  for (const std::string& name : foreign) {
    EXPECT_EQ(ClassifyBackingName(name), BackingNameKind::kForeign) << name;
    EXPECT_EQ(SealedFromShort(name).status().error(), Error::kCorrupt) << name;
  }
}

TEST(NamesTest, CheckNameGivesTheKernelsErrors) {
  using namespace std::string_view_literals;
  EXPECT_TRUE(CheckName("a").ok());
  EXPECT_TRUE(CheckName("...").ok());
  EXPECT_TRUE(CheckName(std::string(255, 'n')).ok());
  EXPECT_EQ(CheckName(std::string(256, 'n')).sys_errno(), ENAMETOOLONG);
  for (std::string_view bad : {""sv, "."sv, ".."sv, "a/b"sv, "a\0b"sv})
    EXPECT_EQ(CheckName(bad).sys_errno(), EINVAL) << bad;
}

TEST(NamesTest, SymlinksUpToTheLimit) {
  EXPECT_EQ(CheckSymlinkTarget("").sys_errno(), ENOENT);
  EXPECT_TRUE(CheckSymlinkTarget(std::string(3050, 't')).ok());
  EXPECT_EQ(CheckSymlinkTarget(std::string(3051, 't')).sys_errno(), ENAMETOOLONG);
  const Bytes sealed(3050 + 16, 9);
  EXPECT_EQ(EncodeSymlink(sealed).size(), 4088u);
  EXPECT_EQ(DecodeSymlink(EncodeSymlink(sealed)).value(), sealed);
  EXPECT_EQ(DecodeSymlink(ToBase64Url(Bytes(3067))).status().error(), Error::kCorrupt);
  EXPECT_EQ(DecodeSymlink(ToBase64Url(Bytes(16))).status().error(), Error::kCorrupt);
  EXPECT_EQ(DecodeSymlink("/etc/passwd").status().error(), Error::kCorrupt);
}

TEST(NamesTest, XattrNames) {
  const Bytes sealed(kMaxXattrName + 16, 7);
  EXPECT_EQ(EncodeXattrName(sealed).size(), 255u);
  EXPECT_EQ(DecodeXattrName(EncodeXattrName(sealed)).value(), sealed);
  EXPECT_EQ(EncodeXattrName(Bytes(17)), "user.kf.AAAAAAAAAAAAAAAAAAAAAAA");
  for (std::string_view bad : {"user.kf.", "user.keyfold.names", "security.selinux"})
    EXPECT_EQ(DecodeXattrName(bad).status().error(), Error::kCorrupt) << bad;
}

TEST(NamesTest, AssociatedDataGoldenBytes) {
  FolderId folder;
  folder.bytes.fill(0x33);
  const std::string id = "33333333333333333333333333333333";
  EXPECT_EQ(ToHex(NameAad(folder)), id);
  EXPECT_EQ(ToHex(SymlinkAad(folder, "ab")), "070073796d6c696e6b" + id + "02006162");
  EXPECT_EQ(ToHex(XattrNameAad(folder.view())), "05007861747472" + id);
  EXPECT_EQ(ToHex(XattrValueAad(folder.view(), "ab")),
            "0b0078617474722076616c7565" + id + "02006162");
}

}  // namespace
}  // namespace keyfold
