// Does a store open after its root key was changed, whenever that was cut off?
#include <filesystem>
#include <fstream>

#include "fs/cli/RootKeyChange.h"
#include "kms/crypto/Crypto.h"
#include "tests/unit/fs_cli/StoreFixture.h"
#include "tests/unit/kms_rootkey/SoftHsm.h"
#include "tests/unit/kms_rootkey/SwTpm.h"

namespace keyfold {
namespace {

using nlohmann::json;
namespace files = std::filesystem;

class RootKeyChangeTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    auto store = OpenStore::Open(store_, "", nullptr);
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    const json key = Must(*store, "kms", "CreateKey", json::object());
    key_ = key["KeyMetadata"]["KeyId"].get<std::string>();
    cipher_ = Must(*store, "kms", "Encrypt",
                   {{"KeyId", key_}, {"Plaintext", ToBase64(AsBytes("told"))}});
    Must(*store, "kms", "RotateKeyOnDemand", {{"KeyId", key_}});
    const json imported = Must(*store, "kms", "CreateKey", {{"Origin", "EXTERNAL"}});
    Must(*store, "kms", "GetParametersForImport",
         {{"KeyId", imported["KeyMetadata"]["KeyId"]},
          {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
          {"WrappingKeySpec", "RSA_2048"}});
    access_ = Must(*store, "iam", "CreateAccessKey", json::object())["AccessKey"];
  }
  static json Must(OpenStore& store, const char* service, const char* operation,
                   const json& request) {
    Caller caller;
    caller.uid = getuid();
    caller.gid = getgid();
    caller.pid = getpid();
    auto answer = store.kms().Call(caller, service, operation, request);
    EXPECT_TRUE(answer.ok()) << operation << ": " << answer.status().ToString();
    return answer.ok() ? *answer : json();
  }
  // ExpectWhole opens the store and uses what hangs on its root key.
  void ExpectWhole(const std::string& when) {
    auto store = OpenStore::Open(store_, "", nullptr);
    ASSERT_TRUE(store.ok()) << when << ": " << store.status().ToString();
    EXPECT_TRUE(store->OpenMetadataKey().ok()) << when;
    const json opened =
        Must(*store, "kms", "Decrypt", {{"CiphertextBlob", cipher_["CiphertextBlob"]}});
    EXPECT_EQ(opened.value("Plaintext", ""), ToBase64(AsBytes("told"))) << when;
    const auto credential =
        store->kms().FindCredential(access_["AccessKeyId"].get<std::string>(), "");
    ASSERT_TRUE(credential.ok()) << when << credential.status().ToString();
    const Bytes secret = RevealSecret(credential->secret);
    EXPECT_EQ(std::string(secret.begin(), secret.end()), access_["SecretAccessKey"]);
    Must(*store, "audit", "VerifyLog", json::object());
  }
  size_t Leftovers() const {
    size_t count = 0;
    for (const auto& entry : files::directory_iterator(store_))
      count += entry.path().filename().string().find("rekeyed") != std::string::npos;
    return count;
  }
  using Change = Status (*)(const RootKeyRequest&, const PassphrasePrompt&);
  bool ChangeKilledAfter(int steps, Change change, const std::string& to) const {
    return KilledAfter(steps, [&](std::function<void()> after_step) {
      RootKeyRequest request{store_, "", to};
      request.after_step = std::move(after_step);
      return change(request, nullptr);
    });
  }

  void MoveKilledAfterEachStep(const std::string& to);

  std::string key_;
  json cipher_, access_;
};

TEST_F(RootKeyChangeTest, ARotationKilledAfterAnyStepLeavesAStoreThatOpens) {
  int steps = 0;
  while (ChangeKilledAfter(++steps, RotateRootKey, "")) {
    ExpectWhole("after step " + std::to_string(steps));
    ASSERT_LT(steps, 20);
  }
  EXPECT_EQ(steps, 6);
  ExpectWhole("at the end");
  EXPECT_EQ(Leftovers(), 0u);
  ASSERT_TRUE(RotateRootKey({store_, "", Key("b")}, nullptr).ok());
  files::remove(folder_ / "a.key");
  ExpectWhole("after another rotation");
}

TEST_F(RootKeyChangeTest, TheFormerRootKeyOpensNothingAfterwards) {
  const auto before = ReadStoreConfig(store_);
  ASSERT_TRUE(before.ok());
  const auto former = UnsealRootKey(before->root_key, "", nullptr);
  ASSERT_TRUE(former.ok());
  ASSERT_TRUE(RotateRootKey({store_, "", ""}, nullptr).ok());
  const auto after = ReadStoreConfig(store_);
  ASSERT_TRUE(after.ok());
  const auto root = UnsealRootKey(after->root_key, "", nullptr);
  ASSERT_TRUE(root.ok());
  EXPECT_FALSE(ConstantTimeEqual(former->bytes(), root->bytes()));
  EXPECT_EQ(after->metadata_key, before->metadata_key);
  auto keys = OpenSqliteKeyStore(store_ + "/keys.db");
  ASSERT_TRUE(keys.ok());
  EXPECT_EQ(Kms::Open(*std::move(keys), RootKey(CopySecret(former->bytes())),
                      store_ + "/audit", Clock::System())
                .status()
                .error(),
            Error::kCorrupt);
  // keyfold.json alone put back.
  ASSERT_TRUE(WriteStoreConfig(store_, *before).ok());
  EXPECT_EQ(OpenStore::Open(store_, "", nullptr).status().error(), Error::kCorrupt);
}

TEST_F(RootKeyChangeTest, ARotationEndsTheKeyThatSignsDigests) {
  const auto signer = [this]() -> std::string {
    auto store = OpenStore::Open(store_, "", nullptr);
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    const json list = Must(*store, "audit", "ListPublicKeys", json::object());
    EXPECT_EQ(list["PublicKeyList"].size(), 1u);
    return list["PublicKeyList"].at(0).value("Value", "");
  };
  const std::string before = signer();
  EXPECT_EQ(signer(), before);
  ASSERT_TRUE(RotateRootKey({store_, "", ""}, nullptr).ok());
  const std::string after = signer();
  EXPECT_NE(after, before);
  EXPECT_EQ(signer(), after);
  EXPECT_TRUE(FormerKeyStores(store_).empty());
  std::ofstream(store_ + "/keys.db.before-restore-1") << "x";
  EXPECT_EQ(FormerKeyStores(store_),
            std::vector<std::string>{store_ + "/keys.db.before-restore-1"});
  ExpectWhole("after the rotation");
}

TEST_F(RootKeyChangeTest, AChangeOfProviderKilledAfterAnyStepLeavesAStoreThatOpens) {
  int steps = 0;
  while (ChangeKilledAfter(++steps, ChangeRootKeyProvider, Key("b"))) {
    ExpectWhole("after step " + std::to_string(steps));
    ASSERT_LT(steps, 20);
  }
  EXPECT_EQ(steps, 4);
  files::remove(folder_ / "a.key");
  ExpectWhole("at the end");
  // The key is the same, so backups and copies of the key store open as before.
  EXPECT_EQ(RootKeySpec(ReadStoreConfig(store_)->root_key).value(), Key("b"));
}

// From the key file to `to`, killed after each step, each time from the beginning.
void RootKeyChangeTest::MoveKilledAfterEachStep(const std::string& to) {
  const std::string before = folder_ / "before";
  files::copy(store_, before, files::copy_options::recursive);
  for (int steps = 1;; ++steps) {
    files::remove_all(store_);
    files::copy(before, store_, files::copy_options::recursive);
    const bool killed = ChangeKilledAfter(steps, ChangeRootKeyProvider, to);
    ExpectWhole(to + " after step " + std::to_string(steps));
    // What was cut off can be done again.
    if (killed) {
      const Status again = ChangeRootKeyProvider({store_, "", to}, nullptr);
      ASSERT_TRUE(again.ok()) << again.ToString();
      ExpectWhole(to + " again after step " + std::to_string(steps));
    } else {
      EXPECT_EQ(steps, 4);
      break;
    }
    ASSERT_LT(steps, 20);
  }
  files::remove(folder_ / "a.key");
  ExpectWhole("without the key file");
}

TEST_F(RootKeyChangeTest, AMoveIntoATokenKilledAfterAnyStepLeavesAStoreThatOpens) {
  SoftHsm hsm;
  hsm.MakeToken("keyfold");
  MoveKilledAfterEachStep(
      hsm.Uri("keyfold", "root", "&pin-source=file:" + hsm.PinFile("1234")));
}

TEST_F(RootKeyChangeTest, AMoveIntoATpmKilledAfterAnyStepLeavesAStoreThatOpens) {
  SwTpm tpm;
  // A store may not choose whom to trust as the TPM.
  setenv("KEYFOLD_TPM2_TCTI", tpm.tcti().c_str(), 1);
  MoveKilledAfterEachStep("tpm2:tcti=" + tpm.tcti());
  unsetenv("KEYFOLD_TPM2_TCTI");
}

TEST_F(RootKeyChangeTest, WhatCannotBeIsRefusedAndChangesNothing) {
  const auto refused = [this](const std::string& to) {
    return ChangeRootKeyProvider({store_, "", to}, nullptr).error();
  };
  EXPECT_EQ(refused("file:" + store_ + "/inside.key"), Error::kUsage);
  EXPECT_EQ(refused("nothing"), Error::kUsage);
  EXPECT_EQ(refused("passphrase"), Error::kUsage);
  EXPECT_EQ(RotateRootKey({store_, Key("other"), ""}, nullptr).sys_errno(), ENOENT);
  EXPECT_EQ(RotateRootKey({folder_.path(), "", ""}, nullptr).error(),
            Error::kNotAStore);
  {
    auto store = OpenStore::Open(store_, "", nullptr);
    ASSERT_TRUE(store.ok());
    EXPECT_EQ(RotateRootKey({store_, "", ""}, nullptr).error(), Error::kLocked);
    EXPECT_EQ(refused(Key("b")), Error::kLocked);
  }
  ExpectWhole("after refusals");
}

}  // namespace
}  // namespace keyfold
