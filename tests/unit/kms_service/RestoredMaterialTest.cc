// After a restore, do keys have the material they had, as far as the backup and the log
// give it; is no version's number given to other material; does what was imported since
// take its place when it is imported again?
#include "BackupFixture.h"
#include "kms/service/Records.h"

namespace keyfold {
namespace {

constexpr char kUnusable[] = "KMSInvalidStateException";
constexpr char kNotTheSame[] = "IncorrectKeyMaterialException";

class RestoredMaterialTest : public BackupFixture {
 protected:
  // The number in a ciphertext (KMS.md): behind its format and the key's id.
  static uint32_t VersionIn(const json& blob) {
    const Bytes bytes = FromBase64(blob.get<std::string>()).value_or(Bytes(21));
    return bytes[17] | bytes[18] << 8 | bytes[19] << 16 | bytes[20] << 24;
  }
  static size_t Open(const Restored& restored) { return restored.replayed.open.size(); }
  static size_t Done(const Restored& restored) { return restored.replayed.done.size(); }
  void Delete(const std::string& key, const std::string& material) {
    Must(kCfo, "DeleteImportedKeyMaterial",
         {{"KeyId", key}, {"KeyMaterialId", material}});
  }
  std::string TryBlob(const json& blob) {
    return Try(kCfo, "Decrypt", {{"CiphertextBlob", blob}});
  }
};

TEST_F(RestoredMaterialTest, ARotationToMaterialInTheBackupIsMadeAgain) {
  const std::string key = Imported();
  const std::string second = ImportNew(key, "second")["KeyMaterialId"];
  const Bytes backup = BackUp();
  clock_.Advance(hours(1));
  const auto rotated = static_cast<double>(Milliseconds(clock_.Now())) / 1000;
  ASSERT_EQ(Rotate(key), "ok");
  const json blob = Encrypted(key);
  clock_.Advance(hours(1));
  const Restored restored = RestoreAndOpen(backup);
  EXPECT_EQ(Open(restored), 0u);
  EXPECT_EQ(Done(restored), 1u);
  EXPECT_EQ(Current(key), second);
  EXPECT_EQ(Materials(key)[1]["RotationDate"], rotated);
  EXPECT_EQ(Decrypted(blob)["KeyMaterialId"], second);
  EXPECT_EQ(VersionIn(Encrypted(key)), 2u);
}

TEST_F(RestoredMaterialTest, MaterialImportedSinceIsLostUntilItIsImportedAgain) {
  const std::string key = Imported();
  const std::string first = Current(key);
  const json old = Encrypted(key);
  const Bytes backup = BackUp();
  const std::string second = ImportNew(key, "second")["KeyMaterialId"];
  ASSERT_EQ(Rotate(key), "ok");
  const json blob = Encrypted(key);
  const Restored restored = RestoreAndOpen(backup);
  ASSERT_EQ(Open(restored), 2u);
  EXPECT_NE(restored.replayed.open[1].find("lost"), std::string::npos);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(State(key), "Enabled") << "what the backup holds is of use";
    EXPECT_EQ(Current(key), first);
    EXPECT_EQ(Decrypted(old)["KeyMaterialId"], first);
    EXPECT_EQ(TryBlob(blob), kUnusable);
    EXPECT_EQ(Materials(key)[1]["KeyMaterialId"], second);
    EXPECT_EQ(Materials(key)[1]["ImportState"], "PENDING_IMPORT");
    EXPECT_EQ(Materials(key)[1]["KeyMaterialState"], "NON_CURRENT");
    ASSERT_TRUE(Reopen().ok());
  }
  NewMaterial();
  EXPECT_EQ(Import(key, kSha256, {{"KeyMaterialId", second}}), kNotTheSame);
  EXPECT_EQ(Import(key), kNotTheSame);
  EXPECT_EQ(ImportFrom("second", key, {{"ImportType", kNew}}), kNotTheSame);
  EXPECT_EQ(ImportFrom("second", key, {{"KeyMaterialId", second}}), "ok");
  EXPECT_EQ(Current(key), second);
  EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
  EXPECT_EQ(Decrypted(old)["Plaintext"], "aGk=");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Decrypted(blob)["KeyMaterialId"], second);
}

TEST_F(RestoredMaterialTest, OtherMaterialGetsNoNumberOfLostMaterial) {
  const std::string key = Imported();
  const Bytes backup = BackUp();
  ImportNew(key, "second");
  ASSERT_EQ(Rotate(key), "ok");
  const json lost = Encrypted(key);
  ImportNew(key, "third");
  ASSERT_EQ(Rotate(key), "ok");
  const json later = Encrypted(key);
  RestoreAndOpen(backup);
  ImportNew(key, "fourth");
  ASSERT_EQ(Rotate(key), "ok");
  const json fresh = Encrypted(key);
  EXPECT_EQ(VersionIn(fresh), 4u);
  EXPECT_EQ(TryBlob(lost), kUnusable);
  EXPECT_EQ(ImportFrom("third", key), "ok");
  EXPECT_EQ(ImportFrom("second", key), "ok");
  for (const json& blob : {lost, later, fresh})
    EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
  EXPECT_EQ(VersionIn(Encrypted(key)), 4u);
}

TEST_F(RestoredMaterialTest, MadeMaterialGetsNoNumberOfLostMaterial) {
  const std::string key = MakeKey();
  const Bytes backup = BackUp();
  Must(kCfo, "EnableKeyRotation", {{"KeyId", key}, {"RotationPeriodInDays", 90}});
  ASSERT_EQ(Rotate(key), "ok");
  clock_.Advance(days(91));
  ASSERT_TRUE(kms_->Tick().ok());
  const json lost = Encrypted(key);
  const std::string material = Current(key);
  EXPECT_EQ(VersionIn(lost), 3u);
  RestoreAndOpen(backup);
  EXPECT_EQ(VersionIn(Encrypted(key)), 1u);
  ASSERT_TRUE(Reopen().ok());
  ASSERT_EQ(Rotate(key), "ok");
  EXPECT_EQ(VersionIn(Encrypted(key)), 4u);
  EXPECT_NE(Current(key), material);
  EXPECT_EQ(TryBlob(lost), "InvalidCiphertextException");
}

TEST_F(RestoredMaterialTest, TheFirstMaterialImportedSinceTakesItsPlaceAgain) {
  const std::string key = MakeKey("EXTERNAL");
  const Bytes backup = BackUp();
  NewMaterial();
  ASSERT_EQ(Import(key), "ok");
  Shell("cp material first");
  const std::string first = Current(key);
  const json blob = Encrypted(key);
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  RestoreAndOpen(backup);
  EXPECT_EQ(State(key), "PendingImport");
  EXPECT_EQ(Current(key), "");
  NewMaterial();
  EXPECT_EQ(Import(key), kNotTheSame) << "the same is expected";
  EXPECT_EQ(ImportFrom("first", key), "ok");
  EXPECT_EQ(State(key), "Disabled") << "as it was";
  Must(kCfo, "EnableKey", {{"KeyId", key}});
  EXPECT_EQ(Current(key), first);
  EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
}

TEST_F(RestoredMaterialTest, OtherMaterialMayFollowLostFirstMaterial) {
  const std::string key = MakeKey("EXTERNAL");
  const Bytes backup = BackUp();
  NewMaterial();
  ASSERT_EQ(Import(key), "ok");
  Shell("cp material first");
  const json blob = Encrypted(key);
  RestoreAndOpen(backup);
  ImportNew(key, "second");
  EXPECT_EQ(State(key), "Enabled") << "there is none to rotate from";
  EXPECT_EQ(VersionIn(Encrypted(key)), 2u);
  EXPECT_EQ(TryBlob(blob), kUnusable);
  EXPECT_EQ(ImportFrom("first", key), "ok");
  EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
  EXPECT_EQ(VersionIn(Encrypted(key)), 2u);
}

TEST_F(RestoredMaterialTest, PendingMaterialImportedSinceIsForgotten) {
  const std::string key = Imported();
  const Bytes backup = BackUp();
  ImportNew(key, "second");
  RestoreAndOpen(backup);
  EXPECT_EQ(Materials(key).size(), 1u);
  EXPECT_EQ(Rotate(key), kUnusable);
  ImportNew(key, "third");
  ASSERT_EQ(Rotate(key), "ok");
  EXPECT_EQ(VersionIn(Encrypted(key)), 2u) << "nothing was ever under the other";
}

TEST_F(RestoredMaterialTest, ALostMaterialDeletedSinceTakesTheKeysUseAway) {
  const std::string key = Imported();
  const Bytes backup = BackUp();
  const std::string second = ImportNew(key, "second")["KeyMaterialId"];
  ASSERT_EQ(Rotate(key), "ok");
  const json blob = Encrypted(key);
  Delete(key, second);
  ASSERT_EQ(State(key), "PendingImport");
  RestoreAndOpen(backup);
  EXPECT_EQ(State(key), "PendingImport");
  EXPECT_EQ(Current(key), second);
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(ImportFrom("second", key), "ok");
  EXPECT_EQ(State(key), "Enabled");
  EXPECT_EQ(Decrypted(blob)["KeyMaterialId"], second);
}

TEST_F(RestoredMaterialTest, ALostMaterialThatExpiresTakesTheKeysUseAway) {
  const std::string key = Imported();
  const Bytes backup = BackUp();
  NewMaterial();
  json request = WrappedRequest(key, kSha256, {{"ImportType", kNew}});
  request["ExpirationModel"] = "KEY_MATERIAL_EXPIRES";
  request["ValidTo"] = static_cast<double>(Milliseconds(clock_.Now())) / 1000 + 7200;
  Must(kCfo, "ImportKeyMaterial", request);
  ASSERT_EQ(Rotate(key), "ok");
  RestoreAndOpen(backup);
  EXPECT_EQ(State(key), "Enabled");
  clock_.Advance(hours(2));
  EXPECT_EQ(State(key), "PendingImport");
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(kms_->Tick().ok());
  size_t told = 0;
  const json found = Must(kRootUid, "audit", "LookupEvents", {{"KeyId", key}});
  for (const json& event : found["Events"])
    told += event["eventName"] == "DeleteExpiredKeyMaterial" ? 1 : 0;
  EXPECT_EQ(told, 1u);
  EXPECT_EQ(State(key), "PendingImport");
}

TEST_F(RestoredMaterialTest, WhatWasDeletedAndImportedAgainIsThere) {
  const std::string key = Imported();
  const std::string first = Current(key);
  const json blob = Encrypted(key);
  const std::string pending = ImportNew(key, "second")["KeyMaterialId"];
  const Bytes backup = BackUp();
  Delete(key, pending);
  Delete(key, first);
  ASSERT_EQ(ImportFrom("second", key, {{"ImportType", kNew}}), "ok");
  Shell("cp first material");
  json request = WrappedRequest(key);
  request["ExpirationModel"] = "KEY_MATERIAL_EXPIRES";
  request["ValidTo"] = static_cast<double>(Milliseconds(clock_.Now())) / 1000 + 3600;
  ASSERT_EQ(Try(kCfo, "ImportKeyMaterial", request), "ok");
  ASSERT_EQ(Rotate(key), "ok");
  const json fresh = Encrypted(key);
  const Restored restored = RestoreAndOpen(backup);
  EXPECT_EQ(Open(restored), 0u);
  EXPECT_EQ(Decrypted(blob)["KeyMaterialId"], first);
  EXPECT_EQ(Decrypted(fresh)["KeyMaterialId"], pending);
  EXPECT_EQ(Materials(key)[0]["ValidTo"], request["ValidTo"]);
}

TEST_F(RestoredMaterialTest, BytesInTheBackupAreOfNoOtherMaterial) {
  const std::string key = Imported();
  const std::string second = ImportNew(key, "second")["KeyMaterialId"];
  const Bytes backup = BackUp();
  Delete(key, second);
  const std::string third = ImportNew(key, "third")["KeyMaterialId"];
  ASSERT_EQ(Rotate(key), "ok");
  const json blob = Encrypted(key);
  ASSERT_EQ(ImportFrom("second", key, {{"ImportType", kNew}}), "ok");
  ASSERT_EQ(Rotate(key), "ok");
  const json later = Encrypted(key);
  const Restored restored = RestoreAndOpen(backup);
  EXPECT_EQ(Done(restored), 1u);
  EXPECT_EQ(Open(restored), 4u);
  EXPECT_EQ(ImportFrom("third", key, {{"KeyMaterialId", third}}), "ok");
  EXPECT_EQ(Decrypted(blob)["KeyMaterialId"], third);
  EXPECT_EQ(TryBlob(later), kUnusable);
  EXPECT_EQ(ImportFrom("second", key, {{"KeyMaterialId", second}}), "ok");
  EXPECT_EQ(Decrypted(later)["KeyMaterialId"], second);
  EXPECT_EQ(VersionIn(Encrypted(key)), 3u);
}

TEST_F(RestoredMaterialTest, MaterialDeletedSinceStaysDeleted) {
  const std::string key = Imported();
  const std::string first = Current(key);
  ImportNew(key, "second");
  ASSERT_EQ(Rotate(key), "ok");
  const json blob = Encrypted(key);
  const Bytes backup = BackUp();
  Delete(key, first);
  const Restored restored = RestoreAndOpen(backup);
  EXPECT_EQ(Done(restored), 1u);
  EXPECT_EQ(State(key), "PendingImport");
  EXPECT_EQ(TryBlob(blob), kUnusable);
  EXPECT_EQ(Materials(key)[0]["ImportState"], "PENDING_IMPORT");
  EXPECT_EQ(Materials(key)[1]["ImportState"], "IMPORTED");
}

TEST_F(RestoredMaterialTest, ASecondRestoreGivesTheSameNumbers) {
  const std::string key = Imported();
  const Bytes backup = BackUp();
  ImportNew(key, "second");
  ASSERT_EQ(Rotate(key), "ok");
  const json second = Encrypted(key);
  RestoreAndOpen(backup);
  ImportNew(key, "third");
  ASSERT_EQ(Rotate(key), "ok");
  const json third = Encrypted(key);
  RestoreAndOpen(backup);
  EXPECT_EQ(ImportFrom("second", key), "ok");
  EXPECT_EQ(ImportFrom("third", key), "ok");
  EXPECT_EQ(Decrypted(second)["Plaintext"], "aGk=");
  EXPECT_EQ(Decrypted(third)["Plaintext"], "aGk=");
  EXPECT_EQ(VersionIn(Encrypted(key)), 3u);
}

}  // namespace
}  // namespace keyfold
