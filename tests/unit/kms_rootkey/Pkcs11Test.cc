// Does a root key hang on the token, its PIN and its key, and on nothing less?
#include <gtest/gtest.h>

#include "SoftHsm.h"
#include "kms/crypto/Crypto.h"
#include "kms/rootkey/Pkcs11Token.h"
#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {
namespace {

using nlohmann::json;

// Says counts how often it was asked.
struct Says {
  std::string text;
  int* times = nullptr;
  Result<SecretBytes> operator()(Asked asked) const {
    EXPECT_EQ(asked, Asked::kPin);
    if (times != nullptr) ++*times;
    Bytes copy(text.begin(), text.end());
    return SecretFrom(copy);
  }
};

class Pkcs11Test : public testing::Test {
 protected:
  void SetUp() override { hsm_.MakeToken("keyfold"); }
  std::string Spec(const std::string& rest = "", const std::string& object = "root") {
    return hsm_.Uri("keyfold", object, rest);
  }
  static void ExpectSame(const SealedRootKey& made, const Result<RootKey>& got) {
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    EXPECT_TRUE(ConstantTimeEqual(made.key.bytes(), got->bytes()));
  }
  std::string Tool(const std::string& arguments) {
    return SoftHsm::Run("pkcs11-tool --module " + std::string(SoftHsm::kModule) +
                        " --login --pin 1234 " + arguments);
  }
  SoftHsm hsm_;
};

TEST_F(Pkcs11Test, TheRootKeyComesBackWithTheTokenAndItsPin) {
  const std::string pin = hsm_.PinFile("1234");
  auto made = CreateRootKey(Spec("&pin-source=file:" + pin), nullptr);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ(made->description["provider"], "pkcs11");
  EXPECT_EQ(made->description["mechanism"], "AES-GCM");
  const json kept = json::parse(made->description.dump());
  ExpectSame(*made, UnsealRootKey(kept, "", nullptr));
  ExpectSame(*made, UnsealRootKey(kept, Spec(), Says{"1234"}));
  // A second store may use the same key.
  auto other = CreateRootKey(Spec(), Says{"1234"});
  ASSERT_TRUE(other.ok()) << other.status().ToString();
  EXPECT_FALSE(ConstantTimeEqual(made->key.bytes(), other->key.bytes()));
  EXPECT_EQ(UnsealRootKey(other->description, "", nullptr).status().error(),
            Error::kUsage);
  EXPECT_EQ(UnsealRootKey(kept, "passphrase", Says{"1234"}).status().error(),
            Error::kUsage);
}

TEST_F(Pkcs11Test, TheKeyNeverLeavesTheToken) {
  ASSERT_TRUE(CreateRootKey(Spec(), Says{"1234"}).ok());
  const std::string listed = Tool("--list-objects");
  EXPECT_NE(listed.find("AES length 32"), std::string::npos) << listed;
  EXPECT_NE(listed.find("sensitive, always sensitive, never extractable, local"),
            std::string::npos)
      << listed;
  EXPECT_NE(listed.find("encrypt, decrypt\n"), std::string::npos) << listed;
  EXPECT_EQ(listed.find("Secret Key"), listed.rfind("Secret Key")) << listed;
}

TEST_F(Pkcs11Test, AKeyThatCouldLeaveIsRefused) {
  Tool("--keygen --key-type AES:32 --label loose --extractable --sensitive");
  Tool("--keygen --key-type AES:32 --label open");
  Tool("--keygen --key-type AES:16 --label short --sensitive");
  for (const char* object : {"loose", "short"}) {
    const Status status = CreateRootKey(Spec("", object), Says{"1234"}).status();
    EXPECT_EQ(status.error(), Error::kUsage) << object << status.ToString();
  }
  Tool("--keygen --key-type AES:32 --label twice --sensitive");
  Tool("--keygen --key-type AES:32 --label twice --sensitive");
  EXPECT_EQ(CreateRootKey(Spec("", "twice"), Says{"1234"}).status().error(),
            Error::kUsage);
}

TEST_F(Pkcs11Test, AWrongPinIsTriedOnce) {
  auto made = CreateRootKey(Spec(), Says{"1234"});
  ASSERT_TRUE(made.ok());
  int times = 0;
  const Status wrong =
      UnsealRootKey(made->description, "", Says{"4321", &times}).status();
  EXPECT_EQ(wrong.error(), Error::kWrongCredential) << wrong.ToString();
  EXPECT_EQ(times, 1);
  EXPECT_EQ(
      UnsealRootKey(made->description, Spec("&pin-source=file:" + hsm_.PinFile("4321")),
                    Says{"1234"})
          .status()
          .error(),
      Error::kWrongCredential);
  EXPECT_EQ(CreateRootKey(Spec("", "new"), Says{"4321"}).status().error(),
            Error::kWrongCredential);
  ExpectSame(*made, UnsealRootKey(made->description, "", Says{"1234"}));
}

TEST_F(Pkcs11Test, APinThatOthersSeeIsRefused) {
  const Status seen = CreateRootKey(Spec("&pin-value=1234"), nullptr).status();
  EXPECT_EQ(seen.error(), Error::kUsage);
  EXPECT_NE(seen.message().find("pin-source"), std::string::npos);
  EXPECT_EQ(seen.message().find("1234"), std::string::npos);
  const Status readable =
      CreateRootKey(Spec("&pin-source=file:" + hsm_.PinFile("1234", 0644)), nullptr)
          .status();
  EXPECT_EQ(readable.error(), Error::kUsage);
  EXPECT_NE(readable.message().find("chmod 600"), std::string::npos);
  for (const char* source : {"file:pin", "pin", "%7Ccat%20pin", "//host/pin", "file:"})
    EXPECT_EQ(
        ParsePkcs11Uri(Spec("&pin-source=" + std::string(source))).status().error(),
        Error::kUsage)
        << source;
  for (const char* source : {"file:/a/pin", "file:///a/pin", "/a/pin"})
    EXPECT_EQ(ParsePkcs11Uri(Spec("&pin-source=" + std::string(source)))->pin_file,
              "/a/pin");
}

TEST_F(Pkcs11Test, WhatIsMissingIsNamed) {
  auto made = CreateRootKey(Spec(), Says{"1234"});
  ASSERT_TRUE(made.ok());
  const auto refused = [&](const std::string& spec) {
    return UnsealRootKey(made->description, spec, Says{"1234"}).status();
  };
  const Status none = refused(hsm_.Uri("other", "root", ""));
  EXPECT_EQ(none.error(), Error::kUnavailable);
  EXPECT_NE(none.message().find("\"keyfold\" (serial "), std::string::npos)
      << none.message();
  const Status module =
      refused("pkcs11:token=keyfold;object=root?module-path=/usr/lib/none.so");
  EXPECT_EQ(module.error(), Error::kUsage);
  EXPECT_NE(module.message().find("module-path"), std::string::npos);
  EXPECT_EQ(refused(Spec("", "other")).error(), Error::kWrongCredential);
  std::filesystem::rename(hsm_.tokens(), hsm_.tokens() + ".away");
  std::filesystem::create_directory(hsm_.tokens());
  EXPECT_EQ(refused("").error(), Error::kUnavailable);
  for (const char* uri :
       {"pkcs11:token=keyfold", "pkcs11:object=", "pkcs11:x-y=1;object=a",
        "pkcs11:object=root?module-name=softhsm2", "pkcs11:%"})
    EXPECT_EQ(refused(uri).error(), Error::kUsage) << uri;
}

TEST_F(Pkcs11Test, AnotherTokenOfThatNameDoesNotOpen) {
  auto made = CreateRootKey(Spec(), Says{"1234"});
  ASSERT_TRUE(made.ok());
  hsm_.MakeToken("keyfold");
  const Status both = UnsealRootKey(made->description, "", Says{"1234"}).status();
  EXPECT_EQ(both.error(), Error::kUsage);
  EXPECT_NE(both.message().find("serial"), std::string::npos);
  // Only the other is inserted.
  std::filesystem::remove_all(hsm_.tokens());
  std::filesystem::create_directory(hsm_.tokens());
  hsm_.MakeToken("keyfold");
  EXPECT_EQ(UnsealRootKey(made->description, "", Says{"1234"}).status().error(),
            Error::kWrongCredential);
  ASSERT_TRUE(CreateRootKey(Spec(), Says{"1234"}).ok());
  EXPECT_EQ(UnsealRootKey(made->description, "", Says{"1234"}).status().error(),
            Error::kWrongCredential);
}

TEST_F(Pkcs11Test, AnAlteredDescriptionIsRefused) {
  // The second is of a token without AES-GCM.
  for (const char* object : {"root", "wraps"}) {
    if (std::string(object) == "wraps")
      hsm_.Configure("slots.mechanisms = CKM_AES_KEY_GEN,CKM_AES_KEY_WRAP_PAD");
    auto made = CreateRootKey(Spec("", object), Says{"1234"});
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    if (std::string(object) == "wraps") {
      EXPECT_EQ(made->description["mechanism"], "AES-KEY-WRAP-PAD");
    }
    ExpectSame(*made, UnsealRootKey(made->description, "", Says{"1234"}));
    for (const char* member : {"salt", "sealed", "wrapped"}) {
      if (!made->description.contains(member)) continue;
      json bad = made->description;
      Bytes bytes = *FromBase64(bad[member].get<std::string>());
      bytes.back() ^= 1;
      bad[member] = ToBase64(bytes);
      EXPECT_EQ(UnsealRootKey(bad, "", Says{"1234"}).status().error(),
                Error::kWrongCredential)
          << member;
      bytes.pop_back();
      bad[member] = ToBase64(bytes);
      EXPECT_EQ(UnsealRootKey(bad, "", Says{"1234"}).status().error(), Error::kCorrupt);
      bad.erase(member);
      EXPECT_EQ(UnsealRootKey(bad, "", Says{"1234"}).status().error(), Error::kCorrupt);
    }
    json bad = made->description;
    bad["mechanism"] = "none";
    EXPECT_EQ(UnsealRootKey(bad, "", Says{"1234"}).status().error(), Error::kCorrupt);
  }
}

TEST_F(Pkcs11Test, AStoreDoesNotChooseWhatRuns) {
  auto made = CreateRootKey(Spec(), Says{"1234"});
  ASSERT_TRUE(made.ok());
  const std::string module = hsm_.folder() + "/module.so";
  std::filesystem::copy(SoftHsm::kModule, module);
  const std::string uri = "pkcs11:token=keyfold;object=root?module-path=" + module;
  json bad = made->description;
  bad["uri"] = uri;
  const Status status = UnsealRootKey(bad, "", Says{"1234"}).status();
  EXPECT_EQ(status.error(), Error::kUsage);
  EXPECT_NE(status.message().find("--root-key"), std::string::npos);
  EXPECT_EQ(WatchRootKey(bad, "").status().error(), Error::kUsage);
  bad["uri"] = "pkcs11:token=keyfold;object=root?module-path=/usr/../" + module;
  EXPECT_EQ(UnsealRootKey(bad, "", Says{"1234"}).status().error(), Error::kUsage);
  ExpectSame(*made, UnsealRootKey(bad, uri, Says{"1234"}));
}

TEST_F(Pkcs11Test, ATokenThatGoesAndComesIsNoticed) {
  auto made = CreateRootKey(Spec(), Says{"1234"});
  ASSERT_TRUE(made.ok());
  auto device = WatchRootKey(made->description, "");
  ASSERT_TRUE(device.ok()) << device.status().ToString();
  ASSERT_NE(*device, nullptr);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE((*device)->Check().ok());
    EXPECT_TRUE((*device)->Check().ok());
    std::filesystem::rename(hsm_.tokens(), hsm_.tokens() + ".away");
    EXPECT_EQ((*device)->Check().error(), Error::kUnavailable);
    EXPECT_EQ((*device)->Check().error(), Error::kUnavailable);
    std::filesystem::rename(hsm_.tokens() + ".away", hsm_.tokens());
    EXPECT_TRUE((*device)->Check().ok());
    ExpectSame(*made, UnsealRootKey(made->description, "", Says{"1234"}));
  }
}

}  // namespace
}  // namespace keyfold
