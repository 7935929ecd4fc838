// Does the root key come back to whoever holds its secret, and to no one else?
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {
namespace {

using nlohmann::json;
constexpr ScryptParameters kCheap{10, 8, 1};

PassphrasePrompt Says(std::string text) {
  return [text](Asked) -> Result<SecretBytes> {
    Bytes copy(text.begin(), text.end());
    if (copy.empty()) return SecretBytes();
    return SecretFrom(copy);
  };
}

class RootKeyProviderTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/keyfold-rootkey-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string File(const std::string& name, const std::string& text,
                   mode_t mode = 0600) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    chmod(path.c_str(), mode);
    return path;
  }
  static void ExpectSame(const SealedRootKey& made, const Result<RootKey>& got) {
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    EXPECT_TRUE(ConstantTimeEqual(made.key.bytes(), got->bytes()));
    EXPECT_EQ(got->bytes().size(), 32u);
  }
  std::string folder_;
};

TEST_F(RootKeyProviderTest, PassphraseRoundTrip) {
  auto made = CreateRootKey("passphrase", Says("correct horse"), kCheap);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ(made->description["provider"], "passphrase");
  ExpectSame(*made, UnsealRootKey(json::parse(made->description.dump()), "",
                                  Says("correct horse")));
  EXPECT_EQ(UnsealRootKey(made->description, "", Says("wrong")).status().error(),
            Error::kWrongCredential);
  EXPECT_EQ(UnsealRootKey(made->description, "", Says("")).status().error(),
            Error::kUsage);
  EXPECT_EQ(UnsealRootKey(made->description, "", nullptr).status().error(),
            Error::kUsage);
  ExpectSame(*made,
             UnsealRootKey(made->description,
                           "passphrase-file:" + File("p", "correct horse\n"), nullptr));
}

TEST_F(RootKeyProviderTest, DefaultCostIsUsed) {
  auto made = CreateRootKey("passphrase", Says("any passphrase"));
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->description["scrypt"], (json{{"log2_n", 17}, {"r", 8}, {"p", 1}}));
  ExpectSame(*made, UnsealRootKey(made->description, "", Says("any passphrase")));
}

TEST_F(RootKeyProviderTest, EveryKeyIsNew) {
  auto a = CreateRootKey("passphrase", Says("any passphrase"), kCheap);
  auto b = CreateRootKey("passphrase", Says("any passphrase"), kCheap);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_FALSE(ConstantTimeEqual(a->key.bytes(), b->key.bytes()));
  EXPECT_NE(a->description["salt"], b->description["salt"]);
}

TEST_F(RootKeyProviderTest, PassphraseFileLosesOneNewlineOnly) {
  const std::string path = File("p", "a secret\n");
  auto made = CreateRootKey("passphrase-file:" + path, nullptr, kCheap);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  ExpectSame(*made, UnsealRootKey(made->description, "", nullptr));
  ExpectSame(*made, UnsealRootKey(made->description, "passphrase", Says("a secret")));
  File("p", "a secret\n\n");
  EXPECT_EQ(UnsealRootKey(made->description, "", nullptr).status().error(),
            Error::kWrongCredential);
  std::filesystem::remove(path);
  EXPECT_EQ(UnsealRootKey(made->description, "", nullptr).status().sys_errno(), ENOENT);
}

TEST_F(RootKeyProviderTest, UnfitPassphraseFilesAreRefused) {
  const auto error = [](const std::string& path) {
    return CreateRootKey("passphrase-file:" + path, nullptr, kCheap).status();
  };
  EXPECT_EQ(error(File("empty", "")).error(), Error::kUsage);
  EXPECT_EQ(error(File("newline", "\n")).error(), Error::kUsage);
  EXPECT_EQ(error(File("short", "7 bytes\n")).error(), Error::kUsage);
  EXPECT_TRUE(error(File("enough", "8 bytes.\n")).ok());
  EXPECT_EQ(error(File("large", std::string(4097, 'x'))).error(), Error::kUsage);
  EXPECT_TRUE(error(File("full", std::string(4096, 'x'))).ok());
  EXPECT_EQ(error(folder_).error(), Error::kUsage);
  ASSERT_EQ(mkfifo((folder_ + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(error(folder_ + "/fifo").error(), Error::kUsage);
  for (mode_t mode : {0640, 0604, 0620, 0610}) {
    const Status status = error(File("open", "a secret", mode));
    EXPECT_EQ(status.error(), Error::kUsage);
    EXPECT_NE(status.message().find("chmod 600"), std::string::npos);
  }
}

TEST_F(RootKeyProviderTest, KeyFileIsMadeAndUsed) {
  const std::string path = folder_ + "/key";
  auto made = CreateRootKey("file:" + path, nullptr);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0400u);
  EXPECT_EQ(info.st_size, 32);
  ExpectSame(*made, UnsealRootKey(made->description, "", nullptr));
  std::filesystem::rename(path, path + "2");
  EXPECT_EQ(UnsealRootKey(made->description, "", nullptr).status().sys_errno(), ENOENT);
  ExpectSame(*made, UnsealRootKey(made->description, "file:" + path + "2", nullptr));
  File("other", std::string(32, 'k'));
  EXPECT_EQ(UnsealRootKey(made->description, "file:" + folder_ + "/other", nullptr)
                .status()
                .error(),
            Error::kWrongCredential);
  EXPECT_EQ(UnsealRootKey(made->description, "file:" + File("s", "short"), nullptr)
                .status()
                .error(),
            Error::kWrongCredential);
  EXPECT_EQ(UnsealRootKey(made->description, "passphrase", Says("any passphrase"))
                .status()
                .error(),
            Error::kUsage);
}

TEST_F(RootKeyProviderTest, ExistingKeyFileIsUsedIfItFits) {
  const std::string path = File("key", std::string(32, 'k'));
  auto made = CreateRootKey("file:" + path, nullptr);
  ASSERT_TRUE(made.ok());
  ExpectSame(*made, UnsealRootKey(made->description, "", nullptr));
  for (size_t size : {0, 31, 33})
    EXPECT_EQ(CreateRootKey("file:" + File("bad", std::string(size, 'k')), nullptr)
                  .status()
                  .error(),
              Error::kUsage);
  EXPECT_EQ(CreateRootKey("file:" + File("open", std::string(32, 'k'), 0644), nullptr)
                .status()
                .error(),
            Error::kUsage);
}

TEST_F(RootKeyProviderTest, UnknownSpecIsUsage) {
  for (const char* spec : {"", "tpm3", "passphrase:", "file",
                           "file:", "passphrase-file:", "pkcs11:token=x"})
    EXPECT_EQ(CreateRootKey(spec, Says("any passphrase"), kCheap).status().error(),
              Error::kUsage)
        << spec;
}

TEST_F(RootKeyProviderTest, CostIsBounded) {
  for (const ScryptParameters& cost :
       {ScryptParameters{9, 8, 1}, ScryptParameters{23, 1, 1},
        ScryptParameters{17, 0, 1}, ScryptParameters{17, 33, 1},
        ScryptParameters{17, 8, 0}, ScryptParameters{17, 8, 17},
        ScryptParameters{22, 32, 1}}) {
    EXPECT_EQ(
        CreateRootKey("passphrase", Says("any passphrase"), cost).status().error(),
        Error::kUsage);
    auto made = CreateRootKey("passphrase", Says("any passphrase"), kCheap);
    ASSERT_TRUE(made.ok());
    made->description["scrypt"] = {
        {"log2_n", cost.log2_n}, {"r", cost.r}, {"p", cost.p}};
    EXPECT_EQ(
        UnsealRootKey(made->description, "", Says("any passphrase")).status().error(),
        Error::kCorrupt);
  }
}

TEST_F(RootKeyProviderTest, AlteredDescriptionIsRefused) {
  auto made = CreateRootKey("passphrase", Says("any passphrase"), kCheap);
  ASSERT_TRUE(made.ok());
  const auto error = [](const json& description) {
    return UnsealRootKey(description, "", Says("any passphrase")).status().error();
  };
  for (const auto& item : made->description.items()) {
    for (const json& value :
         {json(), json(5), json("!"), json::array(), json::object()}) {
      json bad = made->description;
      bad[item.key()] = value;
      EXPECT_EQ(error(bad), Error::kCorrupt) << item.key() << value;
    }
    json bad = made->description;
    bad.erase(item.key());
    EXPECT_EQ(error(bad), Error::kCorrupt);
  }
  for (const json& bad : {json(), json("x"), json::array()})
    EXPECT_EQ(error(bad), Error::kCorrupt);
  json bad = made->description;
  bad["scrypt"]["log2_n"] = 11;
  EXPECT_EQ(error(bad), Error::kWrongCredential);
  bad["scrypt"]["log2_n"] = -1;
  EXPECT_EQ(error(bad), Error::kCorrupt);
  bad["scrypt"]["log2_n"] = 1e300;
  EXPECT_EQ(error(bad), Error::kCorrupt);
  bad = made->description;
  bad["provider"] = "passphrase-file";
  bad["path"] = File("p", "x");
  EXPECT_EQ(error(bad), Error::kWrongCredential);
}

}  // namespace
}  // namespace keyfold
