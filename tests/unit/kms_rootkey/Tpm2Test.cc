// Does a root key hang on the TPM, its PCRs and the authorization, and on nothing less?
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/RootKeyProvider.h"
#include "kms/rootkey/TpmSeal.h"
#include "tests/unit/kms_rootkey/SwTpm.h"

namespace keyfold {
namespace {

using nlohmann::json;

PassphrasePrompt Says(std::string text) {
  return [text](Asked) -> Result<SecretBytes> {
    Bytes copy(text.begin(), text.end());
    return SecretFrom(copy);
  };
}

class Tpm2Test : public testing::Test {
 protected:
  std::string Spec(const std::string& parts = "") {
    return "tpm2:" + (parts.empty() ? "" : parts + ",") + "tcti=" + tpm_.tcti();
  }
  static void ExpectSame(const SealedRootKey& made, const Result<RootKey>& got) {
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    EXPECT_TRUE(ConstantTimeEqual(made.key.bytes(), got->bytes()));
  }
  SwTpm tpm_;
};

TEST_F(Tpm2Test, TheRootKeyComesBackAlsoAfterARestart) {
  auto made = CreateRootKey(Spec(), nullptr);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ(made->description["provider"], "tpm2");
  const json kept = json::parse(made->description.dump());
  ExpectSame(*made, UnsealRootKey(kept, Spec(), nullptr));
  tpm_.Stop();
  const Status gone = UnsealRootKey(kept, Spec(), nullptr).status();
  EXPECT_EQ(gone.error(), Error::kUnavailable) << gone.ToString();
  tpm_.Start();
  // More often than a TPM has room for what is not flushed.
  for (int i = 0; i < 10; ++i) ExpectSame(*made, UnsealRootKey(kept, Spec(), nullptr));
}

TEST_F(Tpm2Test, AnotherTpmRefuses) {
  auto made = CreateRootKey(Spec(), nullptr);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  const SwTpm other;
  const Status status =
      UnsealRootKey(made->description, "tpm2:tcti=" + other.tcti(), nullptr).status();
  EXPECT_EQ(status.error(), Error::kWrongCredential);
  EXPECT_NE(status.message().find("another TPM"), std::string::npos);
  // Also when the description says that it is the one.
  json lie = made->description;
  lie["storageRoot"] =
      CreateRootKey("tpm2:tcti=" + other.tcti(), nullptr)->description["storageRoot"];
  EXPECT_EQ(UnsealRootKey(lie, "tpm2:tcti=" + other.tcti(), nullptr).status().error(),
            Error::kCorrupt);
}

TEST_F(Tpm2Test, AChangedPcrRefusesAndIsNamed) {
  auto made = CreateRootKey(Spec("pcrs=sha256:0+7"), nullptr);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  ExpectSame(*made, UnsealRootKey(made->description, Spec(), nullptr));
  tpm_.Extend(4);
  ExpectSame(*made, UnsealRootKey(made->description, Spec(), nullptr));
  tpm_.Extend(7);
  const Status status = UnsealRootKey(made->description, Spec(), nullptr).status();
  EXPECT_EQ(status.error(), Error::kWrongCredential);
  EXPECT_NE(status.message().find("PCR 7 "), std::string::npos) << status.message();
  // What the description says of values opens nothing.
  json lie = made->description;
  lie["pcrValues"] =
      CreateRootKey(Spec("pcrs=sha256:0+7"), nullptr)->description["pcrValues"];
  EXPECT_EQ(UnsealRootKey(lie, Spec(), nullptr).status().error(),
            Error::kWrongCredential);
  lie["pcrs"] = "";
  EXPECT_EQ(UnsealRootKey(lie, Spec(), nullptr).status().error(),
            Error::kWrongCredential);
}

TEST_F(Tpm2Test, TheAuthorizationIsWanted) {
  auto made = CreateRootKey(Spec("pcrs=sha256:7,auth=prompt"), Says("secret"));
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  ExpectSame(*made, UnsealRootKey(made->description, Spec(), Says("secret")));
  const Status wrong = UnsealRootKey(made->description, Spec(), Says("other")).status();
  EXPECT_EQ(wrong.error(), Error::kWrongCredential) << wrong.ToString();
  json lie = made->description;
  lie["auth"] = "none";
  EXPECT_EQ(UnsealRootKey(lie, Spec(), nullptr).status().error(),
            Error::kWrongCredential);
  EXPECT_EQ(UnsealRootKey(made->description, Spec(), nullptr).status().error(),
            Error::kUsage);
  const std::string path = tpm_.folder() + "/auth";
  std::ofstream(path) << "secret\n";
  chmod(path.c_str(), 0600);
  ExpectSame(*made,
             UnsealRootKey(made->description, Spec("auth=file:" + path), nullptr));
  EXPECT_EQ(RootKeyFile("tpm2:auth=file:" + path), path);
}

TEST_F(Tpm2Test, ADamagedBlobIsRefused) {
  auto made = CreateRootKey(Spec("pcrs=sha256:7"), nullptr);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  for (const char* member : {"public", "private"}) {
    const Bytes good = *FromBase64(made->description[member].get<std::string>());
    for (size_t at = 0; at < good.size(); at += 7) {
      Bytes bytes = good;
      bytes[at] ^= 0x10;
      json bad = made->description;
      bad[member] = ToBase64(bytes);
      EXPECT_EQ(UnsealRootKey(bad, Spec(), nullptr).status().error(), Error::kCorrupt)
          << member << at;
    }
    json bad = made->description;
    bad[member] = ToBase64(ByteView(good).first(good.size() - 1));
    EXPECT_EQ(UnsealRootKey(bad, Spec(), nullptr).status().error(), Error::kCorrupt);
  }
  for (const auto& item : made->description.items()) {
    json bad = made->description;
    bad.erase(item.key());
    EXPECT_EQ(UnsealRootKey(bad, Spec(), nullptr).status().error(), Error::kCorrupt)
        << item.key();
  }
  json bad = made->description;
  bad["tcti"] = "cmd:/bin/sh";
  EXPECT_EQ(UnsealRootKey(bad, Spec(), nullptr).status().error(), Error::kCorrupt);
}

TEST_F(Tpm2Test, AStoreDoesNotChooseWhoIsTheTpm) {
  auto made = CreateRootKey(Spec("auth=prompt"), Says("secret"));
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  bool asked = false;
  const auto ask = [&](Asked what) {
    asked = true;
    return Says("secret")(what);
  };
  json stored = made->description;
  for (const std::string& tcti : {tpm_.tcti(), std::string("mssim:host=127.0.0.1"),
                                  std::string("tabrmd:bus_name=a.b")}) {
    stored["tcti"] = tcti;
    const Status status = UnsealRootKey(stored, "", ask).status();
    EXPECT_EQ(status.error(), Error::kUsage) << tcti;
    EXPECT_NE(status.message().find("--root-key"), std::string::npos);
    EXPECT_EQ(UnsealRootKey(stored, "tpm2:auth=prompt", ask).status().error(),
              Error::kUsage);
    EXPECT_EQ(WatchRootKey(stored, "").status().error(), Error::kUsage);
    // Nor who gets the next root key.
    EXPECT_EQ(RootKeySpec(stored).value(), "tpm2:auth=prompt");
  }
  EXPECT_FALSE(asked);
  ExpectSame(*made, UnsealRootKey(stored, Spec(), ask));
  setenv("KEYFOLD_TPM2_TCTI", tpm_.tcti().c_str(), 1);
  ExpectSame(*made, UnsealRootKey(stored, "", ask));
  unsetenv("KEYFOLD_TPM2_TCTI");
  // A device of this machine it may name.
  stored["tcti"] = "device:/dev/tpm99";
  EXPECT_EQ(UnsealRootKey(stored, "", ask).status().error(), Error::kUnavailable);
}

TEST_F(Tpm2Test, MistakesAreNamed) {
  for (const char* spec :
       {"tpm2:pcr=7", "tpm2:pcrs=sha1:7", "tpm2:pcrs=sha256:", "tpm2:pcrs=sha256:24",
        "tpm2:pcrs=sha256:7+", "tpm2:auth=secret", "tpm2:auth=file:auth",
        "tpm2:tcti=cmd:sh", "tpm2:tcti=/tmp/evil.so", "tpm2:tcti=device:/etc/shadow",
        "tpm2:,"})
    EXPECT_EQ(CreateRootKey(spec, nullptr).status().error(), Error::kUsage) << spec;
  EXPECT_EQ(CreateRootKey("tpm2:tcti=device:/dev/tpm99", nullptr).status().error(),
            Error::kUnavailable);
  // What was wrong is not repeated: it may be a secret.
  EXPECT_EQ(
      CreateRootKey("tpm2:auth=secret", nullptr).status().message().find("secret"),
      std::string::npos);
}

}  // namespace
}  // namespace keyfold
