// Are secrets wiped when they go, and kept out of swap and core dumps until then?
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <type_traits>

#include "kms/base/SecretBytes.h"
#include "kms/crypto/Internal.h"

namespace keyfold {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBytes>);
static_assert(!std::is_copy_assignable_v<SecretBytes>);
static_assert(!std::is_convertible_v<SecretKey<struct DataKeyTag>,
                                     SecretKey<struct CmkMaterialTag>>);

// The flags of the mapping that holds `address` (proc(5), VmFlags).
std::string FlagsOf(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)
      inside = begin <= wanted && wanted < end;
    else if (inside && line.starts_with("VmFlags:"))
      return line + " ";
  }
  return "";
}

bool IsMapped(const uint8_t* address) {
  const auto page = reinterpret_cast<uintptr_t>(address) &
                    ~static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE) - 1);
  unsigned char resident = 0;
  return ::mincore(reinterpret_cast<void*>(page), 1, &resident) == 0 || errno != ENOMEM;
}

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
}

TEST(SecretBytesTest, BeginsAsZeros) {
  for (size_t size : {1u, 32u, 64u, 65u, 5000u}) {
    SecretBytes secret(size);
    EXPECT_EQ(secret.size(), size);
    EXPECT_TRUE(AllZero(Raw(secret)));
    std::fill_n(RawMutable(secret).data(), size, uint8_t{0xaa});
  }
  EXPECT_TRUE(SecretBytes().empty());
  EXPECT_TRUE(SecretBytes(0).empty());
}

TEST(SecretBytesTest, AShortSecretIsWipedWhereItLay) {
  for (size_t size : {1u, 32u, 64u}) {
    SecretBytes secret(size);
    const MutableBytes raw = RawMutable(secret);
    std::fill(raw.begin(), raw.end(), uint8_t{0xaa});
    secret.Reset();
    EXPECT_TRUE(secret.empty());
    // The arena stays mapped.
    EXPECT_TRUE(AllZero(ByteView(raw)));
  }
}

TEST(SecretBytesTest, ALongSecretsPagesAreGone) {
  SecretBytes secret(5000);
  const uint8_t* at = Raw(secret).data();
  EXPECT_TRUE(IsMapped(at));
  secret.Reset();
  EXPECT_FALSE(IsMapped(at));
}

TEST(SecretBytesTest, MovingLeavesNothingBehind) {
  SecretBytes a(32);
  RawMutable(a)[0] = 7;
  const uint8_t* at = Raw(a).data();
  SecretBytes b(std::move(a));
  EXPECT_TRUE(a.empty());  // NOLINT: what is left behind is the point
  EXPECT_EQ(Raw(b).data(), at);
  SecretBytes c(32);
  const MutableBytes replaced = RawMutable(c);
  replaced[0] = 9;
  c = std::move(b);
  EXPECT_EQ(Raw(c)[0], 7);
  EXPECT_EQ(replaced[0], 0);  // wiped before it was given up
  c = std::move(c);           // NOLINT
  EXPECT_EQ(c.size(), 32u);
}

TEST(SecretBytesTest, TwoSecretsNeverShareMemory) {
  std::vector<SecretBytes> many;
  for (int i = 0; i < 3000; ++i) {  // more than one arena
    many.emplace_back(64);
    std::fill_n(RawMutable(many.back()).data(), 64, static_cast<uint8_t>(i));
  }
  for (int i = 0; i < 3000; ++i)
    for (uint8_t byte : Raw(many[static_cast<size_t>(i)]))
      ASSERT_EQ(byte, static_cast<uint8_t>(i));
}

TEST(SecretBytesTest, StaysOutOfCoreDumps) {
  const SecretBytes small(32), large(5000);
  for (const SecretBytes* secret : {&small, &large})
    EXPECT_NE(FlagsOf(Raw(*secret).data()).find(" dd "), std::string::npos);
}

TEST(SecretBytesTest, StaysInMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers turn mlock off";
#endif
  uint8_t page[1] = {};
  if (::mlock(page, sizeof page) != 0) GTEST_SKIP() << "no memory may be locked here";
  const SecretBytes small(32), large(5000);
  for (const SecretBytes* secret : {&small, &large})
    EXPECT_NE(FlagsOf(Raw(*secret).data()).find(" lo "), std::string::npos);
}

}  // namespace
}  // namespace keyfold
