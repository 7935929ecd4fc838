// What is refused, kept and wiped while the device of the root key is gone?
#include "KmsFixture.h"

namespace keyfold {
namespace {

class RootKeyringTest : public KmsTest {
 protected:
  void SetUp() override {
    KmsTest::SetUp();
    key_ = MakeKey();
    cipher_ = Must(kCfo, "Encrypt",
                   {{"KeyId", key_}, {"Plaintext", ToBase64(AsBytes("told"))}});
    auto wrapped = kms_->GenerateDataKey(By(kCfo), key_, kContext, "/file");
    ASSERT_TRUE(wrapped.ok()) << wrapped.status().ToString();
    wrapped_ = wrapped->blob;
  }
  void Withhold() {
    kms_->WithholdRootKey({Error::kUnavailable, "The token is not present."});
  }
  Status Restore() { return kms_->RestoreRootKey(RootKey(CopySecret(root_))); }
  Error Unwrap() {
    return kms_->UnwrapDataKey(By(kCfo), wrapped_, kContext, "/file").status().error();
  }
  Error Open() {
    return kms_->Authorize(By(kCfo), key_, kContext, {"OpenFile", "/file"}).error();
  }
  Error Held() {
    return kms_->StillAllowed(By(kCfo), key_, kContext, KeyUse::kRead).error();
  }
  size_t Records(const char* event) {
    size_t count = 0;
    const json found = Must(kRootUid, "audit", "LookupEvents", json::object());
    for (const json& one : found["Events"])
      count += one["eventName"] == event && one["eventSource"] == "store.keyfold";
    return count;
  }

  const EncryptionContext kContext = {{"keyfold:file", "1"}};
  std::string key_;
  json cipher_;
  Bytes wrapped_;
};

TEST_F(RootKeyringTest, NothingIsUnsealedWhileTheDeviceIsGone) {
  const json blob = {{"CiphertextBlob", cipher_["CiphertextBlob"]}};
  const std::string macs = MakeKey("AWS_KMS", "HMAC_256");
  const std::string external = MakeKey("EXTERNAL");
  Withhold();
  for (int wiped = 0; wiped < 2; ++wiped) {
    const std::string gone = "KeyUnavailableException";
    EXPECT_EQ(Try(kCfo, "Decrypt", blob), gone);
    EXPECT_EQ(Try(kCfo, "Encrypt", {{"KeyId", key_}, {"Plaintext", "AAAA"}}), gone);
    EXPECT_EQ(Try(kCfo, "Encrypt",
                  {{"KeyId", key_}, {"Plaintext", "AAAA"}, {"DryRun", true}}),
              gone);
    json again = blob;
    again["DestinationKeyId"] = key_;
    EXPECT_EQ(Try(kCfo, "ReEncrypt", again), gone);
    for (const char* operation : {"GenerateDataKey", "GenerateDataKeyWithoutPlaintext"})
      EXPECT_EQ(Try(kCfo, operation, {{"KeyId", key_}, {"KeySpec", "AES_256"}}), gone);
    for (const char* operation :
         {"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"})
      EXPECT_EQ(
          Try(kCfo, operation, {{"KeyId", key_}, {"KeyPairSpec", "ECC_NIST_P256"}}),
          gone);
    EXPECT_EQ(
        Try(kCfo, "GenerateMac",
            {{"KeyId", macs}, {"Message", "AAAA"}, {"MacAlgorithm", "HMAC_SHA_256"}}),
        gone);
    EXPECT_EQ(Try(kCfo, "CreateKey", json::object()), gone);
    EXPECT_EQ(Try(kCfo, "RotateKeyOnDemand", {{"KeyId", key_}}), gone);
    EXPECT_EQ(Try(kCfo, "GetParametersForImport",
                  {{"KeyId", external},
                   {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                   {"WrappingKeySpec", "RSA_2048"}}),
              gone);
    EXPECT_EQ(Try(kRootUid, "BackupKeyStore", json::object(), "store"), gone);
    EXPECT_EQ(Unwrap(), Error::kUnavailable);
    EXPECT_EQ(kms_->GenerateDataKey(By(kCfo), key_, kContext, "/file").status().error(),
              Error::kUnavailable);
    EXPECT_EQ(Open(), Error::kUnavailable);
    // Whoever has no right is told that, and no more.
    EXPECT_EQ(Try(kNobody, "Decrypt", blob), "AccessDeniedException");
    EXPECT_EQ(
        kms_->Authorize(By(kNobody), key_, kContext, {"OpenFile", "/file"}).error(),
        Error::kAccessDenied);
    kms_->WipeRootKey();
  }
}

TEST_F(RootKeyringTest, OnlyWhoHasAnAccessKeyIsTold) {
  Must(kRootUid, "iam", "ApplyIam",
       {{"Document", "users: {root: {policies: [AdministratorAccess]}}\n"}});
  const std::string id =
      Must(0, "iam", "CreateAccessKey", json::object())["AccessKey"]["AccessKeyId"];
  Withhold();
  EXPECT_EQ(kms_->FindCredential(id, "").status().error(), Error::kUnavailable);
  EXPECT_EQ(kms_->FindCredential("AKIA", "").status().error(),
            Error::kUnrecognizedClient);
}

TEST_F(RootKeyringTest, WhatNeedsNoMaterialGoesOn) {
  Withhold();
  kms_->WipeRootKey();
  EXPECT_EQ(State(key_), "Unavailable");
  const json status = Must(kRootUid, "store", "GetStatus", json::object());
  EXPECT_NE(status["RootKey"].get<std::string>().find("not present"),
            std::string::npos);
  Must(kCfo, "ListKeys", json::object());
  Must(kSysadmin, "GenerateRandom", {{"NumberOfBytes", 8}});
  Must(kCfo, "CreateKey", {{"Origin", "EXTERNAL"}});
  Must(kCfo, "UpdateKeyDescription", {{"KeyId", key_}, {"Description", "new"}});
  Must(kCfo, "DisableKey", {{"KeyId", key_}});
  EXPECT_EQ(State(key_), "Disabled");
  Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", key_}, {"PendingWindowInDays", 7}});
  Must(kRootUid, "audit", "VerifyLog", json::object());
  // Destroying a key needs none, and rows are committed under what was not wiped.
  clock_.Advance(days(8));
  EXPECT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(Try(kCfo, "DescribeKey", {{"KeyId", key_}}), "NotFoundException");
  const Status reopened = Reopen();
  ASSERT_TRUE(reopened.ok()) << reopened.ToString();
  Must(kRootUid, "audit", "VerifyLog", json::object());
}

TEST_F(RootKeyringTest, WhatIsOpenGoesOnUntilTheKeysAreWiped) {
  int told = 0;
  kms_->SetChangeListener([&] { ++told; });
  const uint64_t generation = kms_->Generation();
  Withhold();
  EXPECT_EQ(Held(), Error::kOk);
  EXPECT_EQ(told, 0);
  EXPECT_EQ(kms_->TimesWiped(), 0u);
  kms_->WipeRootKey();
  EXPECT_EQ(Held(), Error::kUnavailable);
  EXPECT_EQ(told, 1);
  EXPECT_GT(kms_->Generation(), generation);
  EXPECT_EQ(kms_->TimesWiped(), 1u);
  kms_->SetChangeListener({});
}

TEST_F(RootKeyringTest, OnlyTheSameRootKeyComesBack) {
  kms_->WipeRootKey();  // there is nothing to wipe
  EXPECT_EQ(Unwrap(), Error::kOk);
  Withhold();
  kms_->WipeRootKey();
  EXPECT_EQ(kms_->RestoreRootKey(RootKey(RandomSecret(kKeySize))).error(),
            Error::kWrongCredential);
  EXPECT_EQ(Unwrap(), Error::kUnavailable);
  EXPECT_EQ(Records("RootKeyAvailable"), 0u);
  ASSERT_TRUE(Restore().ok());
  EXPECT_EQ(Unwrap(), Error::kOk);
  EXPECT_EQ(Open(), Error::kOk);
  EXPECT_EQ(Held(), Error::kOk);
  EXPECT_EQ(State(key_), "Enabled");
  EXPECT_EQ(Must(kCfo, "Decrypt",
                 {{"CiphertextBlob", cipher_["CiphertextBlob"]}})["Plaintext"],
            ToBase64(AsBytes("told")));
}

TEST_F(RootKeyringTest, WhatHappenedIsOnRecord) {
  std::vector<std::string> alerts;
  kms_->SetAlertSink([&](const Alert& alert) { alerts.push_back(alert.name); });
  Withhold();
  Withhold();  // said once
  kms_->WipeRootKey();
  kms_->WipeRootKey();
  ASSERT_TRUE(Restore().ok());
  EXPECT_EQ(Records("RootKeyUnavailable"), 1u);
  EXPECT_EQ(Records("WipeRootKey"), 1u);
  EXPECT_EQ(Records("RootKeyAvailable"), 1u);
  EXPECT_EQ(alerts, std::vector<std::string>{"RootKeyLost"});
}

TEST_F(RootKeyringTest, ARotationWaitsForTheRootKey) {
  Must(kCfo, "EnableKeyRotation", {{"KeyId", key_}, {"RotationPeriodInDays", 90}});
  const auto rotations = [&] {
    return Must(kCfo, "ListKeyRotations", {{"KeyId", key_}})["Rotations"].size();
  };
  Withhold();
  clock_.Advance(days(91));
  EXPECT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(rotations(), 0u);
  ASSERT_TRUE(Restore().ok());
  EXPECT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(rotations(), 1u);
}

}  // namespace
}  // namespace keyfold
