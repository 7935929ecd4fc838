// Does any byte of keyfold.json that is another give anything but the right keys or a
// refusal?
#include <fstream>

#include "kms/crypto/Crypto.h"
#include "tests/unit/fs_cli/StoreFixture.h"

namespace keyfold {
namespace {

class FlippedConfigTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    std::ifstream in(store_ + "/keyfold.json", std::ios::binary);
    good_ = {std::istreambuf_iterator<char>(in), {}};
    const auto root = UnsealRootKey(made_.root_key, "", nullptr);
    ASSERT_TRUE(root.ok());
    root_ = CopySecret(root->bytes());
  }

  // Try opens the root key as the text says, and the store if that is its own.
  Status Try(const std::string& text, const std::string& what) {
    const auto config = ParseStoreConfig(text, store_);
    if (!config.ok()) return config.status();
    const auto root = UnsealRootKey(config->root_key, "", nullptr);
    if (!root.ok()) return root.status();
    EXPECT_TRUE(ConstantTimeEqual(root->bytes(), root_)) << what;
    std::ofstream(store_ + "/keyfold.json", std::ios::binary | std::ios::trunc) << text;
    auto store = OpenStore::Open(store_, "", nullptr);
    if (!store.ok()) return store.status();
    return store->OpenMetadataKey().status();
  }
  void Expect(const std::string& text, const std::string& what) {
    const Status found = Try(text, what);
    if (found.ok()) {
      ++harmless_;
      return;
    }
    ++refused_;
    EXPECT_TRUE(found.error() == Error::kCorrupt || found.error() == Error::kUsage ||
                found.error() == Error::kNewerFormat ||
                found.error() == Error::kWrongCredential ||
                // Of the key file's path.
                (found.error() == Error::kSystem && found.sys_errno() != 0))
        << what << ": " << found.ToString();
    EXPECT_FALSE(found.message().empty()) << what;
  }

  std::string good_;
  SecretBytes root_;
  size_t refused_ = 0, harmless_ = 0;
};

TEST_F(FlippedConfigTest, EachByte) {
  static constexpr uint8_t kMasks[] = {0xff, 0x01, 0x80, 0x20, 0x02, 0x04};
  for (size_t at = 0; at < good_.size(); ++at)
    for (const uint8_t mask : kMasks) {
      std::string bad = good_;
      bad[at] = static_cast<char>(good_[at] ^ mask);
      Expect(bad, "byte " + std::to_string(at) + " mask " + std::to_string(mask));
    }
  printf("keyfold.json: %zu refused, %zu gave the right keys\n", refused_, harmless_);
  EXPECT_GT(refused_, harmless_);
}

TEST_F(FlippedConfigTest, CutAnywhere) {
  // But for the newline at the end, and the brace before it, all of it counts.
  for (size_t size = 0; size + 2 < good_.size(); ++size)
    EXPECT_EQ(Try(good_.substr(0, size), "").error(), Error::kCorrupt) << size;
}

}  // namespace
}  // namespace keyfold
