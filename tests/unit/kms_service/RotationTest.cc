// Do keys with several materials behave as AWS says: which one encrypts, which must be
// there, what waits to be rotated to, and how often may that be?
#include "ImportFixture.h"
#include "kms/service/Records.h"

namespace keyfold {
namespace {

constexpr char kSame[] = "EXISTING_KEY_MATERIAL";
constexpr char kOther[] = "IncorrectKeyMaterialException";
constexpr char kState[] = "KMSInvalidStateException";

class RotationTest : public ImportFixture {};

TEST_F(RotationTest, NewMaterialWaitsAndThenEncrypts) {
  const std::string key = Imported();
  const std::string first = Current(key);
  const json old = Encrypted(key);
  EXPECT_EQ(Rotate(key), kState) << "nothing is pending";
  const std::string second = ImportNew(key, "second")["KeyMaterialId"];
  EXPECT_NE(second, first);
  EXPECT_EQ(Current(key), first);
  EXPECT_EQ(Decrypted(Encrypted(key))["KeyMaterialId"], first);
  EXPECT_EQ(Materials(key)[1]["KeyMaterialState"], "PENDING_ROTATION");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Rotate(key), "ok");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Current(key), second);
  const json fresh = Encrypted(key);
  EXPECT_EQ(Decrypted(fresh)["KeyMaterialId"], second);
  EXPECT_EQ(Decrypted(old)["KeyMaterialId"], first);
  EXPECT_EQ(Decrypted(old)["Plaintext"], "aGk=");
  EXPECT_EQ(Rotate(key), kState) << "nothing is pending any more";
}

TEST_F(RotationTest, OnlyOneMaterialWaits) {
  const std::string key = Imported();
  const std::string second = ImportNew(key, "second")["KeyMaterialId"];
  NewMaterial();
  EXPECT_EQ(Import(key, kSha256, {{"ImportType", kNew}}), kState);
  Must(kCfo, "DeleteImportedKeyMaterial", {{"KeyId", key}, {"KeyMaterialId", second}});
  EXPECT_EQ(State(key), "Enabled") << "the key was never bound to it";
  EXPECT_EQ(Materials(key).size(), 1u);
  EXPECT_EQ(Rotate(key), kState);
  EXPECT_NE(ImportNew(key, "third")["KeyMaterialId"], second);
  EXPECT_EQ(Rotate(key), "ok");
}

TEST_F(RotationTest, AllMaterialsMustBeThere) {
  const std::string key = Imported();
  const std::string first = Current(key);
  const json old = Encrypted(key);
  const std::string second = ImportNew(key, "second")["KeyMaterialId"];
  ASSERT_EQ(Rotate(key), "ok");
  const json fresh = Encrypted(key);
  EXPECT_EQ(Must(kCfo, "DeleteImportedKeyMaterial",
                 {{"KeyId", key}, {"KeyMaterialId", first}})["KeyMaterialId"],
            first);
  EXPECT_EQ(State(key), "PendingImport");
  EXPECT_EQ(Try(kCfo, "Decrypt", {{"CiphertextBlob", fresh}}), kState);
  EXPECT_EQ(Materials(key)[0]["ImportState"], "PENDING_IMPORT");
  EXPECT_FALSE(Materials(key)[0].contains("ExpirationModel"));
  EXPECT_EQ(Materials(key)[1]["ImportState"], "IMPORTED");
  // Without an id, the current one.
  EXPECT_EQ(Must(kCfo, "DeleteImportedKeyMaterial", {{"KeyId", key}})["KeyMaterialId"],
            second);
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(ImportFrom("first", key), "ok");
  EXPECT_EQ(State(key), "PendingImport") << "one is still missing";
  EXPECT_EQ(ImportFrom("second", key), "ok");
  EXPECT_EQ(State(key), "Enabled");
  EXPECT_EQ(Current(key), second);
  EXPECT_EQ(Decrypted(old)["KeyMaterialId"], first);
  EXPECT_EQ(Decrypted(fresh)["KeyMaterialId"], second);
}

TEST_F(RotationTest, TheTypeMustFitTheMaterial) {
  const std::string key = MakeKey("EXTERNAL");
  NewMaterial();
  EXPECT_EQ(Import(key, kSha256, {{"ImportType", kSame}}), kOther)
      << "none was ever imported";
  EXPECT_EQ(Import(key, kSha256, {{"ImportType", kNew}}), "ok");
  Shell("cp material first");
  EXPECT_EQ(Import(key, kSha256, {{"ImportType", kNew}}), kOther);
  EXPECT_EQ(Import(key, kSha256, {{"ImportType", kSame}}), "ok");
  NewMaterial();
  EXPECT_EQ(Import(key), kOther) << "EXISTING_KEY_MATERIAL is the default now";
  EXPECT_EQ(Import(key, kSha256, {{"ImportType", kSame}}), kOther);
}

TEST_F(RotationTest, AMaterialIdMustBeTheMaterials) {
  const std::string key = Imported();
  const std::string first = Current(key);
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(ImportFrom("first", key, {{"KeyMaterialId", first}}), "ok");
  EXPECT_EQ(ImportFrom("first", key, {{"KeyMaterialId", std::string(64, 'a')}}),
            kOther);
  EXPECT_EQ(ImportFrom("first", key, {{"KeyMaterialId", first}, {"ImportType", kNew}}),
            "ValidationException");
  EXPECT_EQ(ImportFrom("first", key, {{"KeyMaterialId", "short"}}),
            "ValidationException");
  EXPECT_EQ(Try(kCfo, "DeleteImportedKeyMaterial",
                {{"KeyId", key}, {"KeyMaterialId", std::string(64, 'a')}}),
            "NotFoundException");
  // The same material in another key has another id.
  const std::string twin = MakeKey("EXTERNAL");
  ASSERT_EQ(ImportFrom("first", twin), "ok");
  EXPECT_NE(Current(twin), first);
}

TEST_F(RotationTest, ADescriptionStaysUntilAnotherIsGiven) {
  const std::string key = MakeKey("EXTERNAL");
  NewMaterial();
  const auto described = [&] {
    return Materials(key)[0].value("KeyMaterialDescription", "");
  };
  ASSERT_EQ(Import(key, kSha256, {{"KeyMaterialDescription", "HSM 1, no"}}),
            "ValidationException");
  ASSERT_EQ(Import(key, kSha256, {{"KeyMaterialDescription", "HSM 1"}}), "ok");
  EXPECT_EQ(described(), "HSM 1");
  ASSERT_EQ(Import(key), "ok");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(described(), "HSM 1");
  ASSERT_EQ(Import(key, kSha256, {{"KeyMaterialDescription", "HSM 2"}}), "ok");
  EXPECT_EQ(described(), "HSM 2");
}

TEST_F(RotationTest, EachMaterialExpiresByItself) {
  const double now = 1767225600;
  const std::string key = Imported();
  ImportNew(key, "second");
  ASSERT_EQ(Rotate(key), "ok");
  const json blob = Encrypted(key);
  Shell("cp second material");
  json expiring = WrappedRequest(key);
  expiring["ExpirationModel"] = "KEY_MATERIAL_EXPIRES";
  expiring["ValidTo"] = now + 3600;
  ASSERT_EQ(Try(kCfo, "ImportKeyMaterial", expiring), "ok");
  EXPECT_EQ(Materials(key)[0]["ExpirationModel"], "KEY_MATERIAL_DOES_NOT_EXPIRE");
  EXPECT_EQ(Materials(key)[1]["ValidTo"], now + 3600);
  EXPECT_EQ(Must(kCfo, "DescribeKey", {{"KeyId", key}})["KeyMetadata"]["ValidTo"],
            now + 3600);
  clock_.Advance(hours(1));
  EXPECT_EQ(State(key), "PendingImport");
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(Materials(key)[0]["ImportState"], "IMPORTED");
  EXPECT_EQ(Materials(key)[1]["ImportState"], "PENDING_IMPORT");
  EXPECT_EQ(ImportFrom("second", key), "ok");
  EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
}

TEST_F(RotationTest, WhatWaitsAndExpiresIsForgotten) {
  const std::string key = Imported();
  NewMaterial();
  json expiring = WrappedRequest(key, kSha256, {{"ImportType", kNew}});
  expiring["ExpirationModel"] = "KEY_MATERIAL_EXPIRES";
  expiring["ValidTo"] = 1767225600 + 60;
  ASSERT_EQ(Try(kCfo, "ImportKeyMaterial", expiring), "ok");
  clock_.Advance(std::chrono::minutes(1));
  EXPECT_EQ(Rotate(key), kState);
  EXPECT_EQ(State(key), "Enabled");
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(Materials(key).size(), 1u);
}

TEST_F(RotationTest, ListsRotationsOrAllMaterial) {
  const std::string key = MakeKey();
  const auto list = [&](const char* what) {
    return Must(kCfo, "ListKeyRotations",
                {{"KeyId", key}, {"IncludeKeyMaterial", what}})["Rotations"];
  };
  const std::string first = Current(key);
  EXPECT_EQ(list("ROTATIONS_ONLY").size(), 0u);
  ASSERT_EQ(Rotate(key), "ok");
  ASSERT_EQ(list("ROTATIONS_ONLY").size(), 1u);
  EXPECT_EQ(list("ROTATIONS_ONLY")[0]["RotationType"], "ON_DEMAND");
  EXPECT_EQ(list("ROTATIONS_ONLY")[0]["KeyMaterialId"], Current(key));
  const json all = list("ALL_KEY_MATERIAL");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]["KeyMaterialId"], first);
  EXPECT_EQ(all[0]["KeyMaterialState"], "NON_CURRENT");
  EXPECT_FALSE(all[0].contains("RotationDate"));
  EXPECT_FALSE(all[0].contains("ImportState")) << "that is for EXTERNAL keys";
  EXPECT_EQ(all[1]["KeyMaterialState"], "CURRENT");
  const std::string macs = MakeKey("AWS_KMS", "HMAC_256");
  EXPECT_EQ(Try(kCfo, "ListKeyRotations",
                {{"KeyId", macs}, {"IncludeKeyMaterial", "ALL_KEY_MATERIAL"}}),
            "UnsupportedOperationException");
}

TEST_F(RotationTest, UsesNameTheirMaterial) {
  const std::string key = MakeKey();
  const std::string first = Current(key);
  const json data =
      Must(kCfo, "GenerateDataKey", {{"KeyId", key}, {"KeySpec", "AES_256"}});
  EXPECT_EQ(data["KeyMaterialId"], first);
  EXPECT_EQ(Must(kCfo, "GenerateDataKeyPairWithoutPlaintext",
                 {{"KeyId", key}, {"KeyPairSpec", "ECC_NIST_P256"}})["KeyMaterialId"],
            first);
  ASSERT_EQ(Rotate(key), "ok");
  const json moved =
      Must(kCfo, "ReEncrypt",
           {{"CiphertextBlob", data["CiphertextBlob"]}, {"DestinationKeyId", key}});
  EXPECT_EQ(moved["SourceKeyMaterialId"], first);
  EXPECT_EQ(moved["DestinationKeyMaterialId"], Current(key));
  EXPECT_NE(moved["DestinationKeyMaterialId"], first);
}

TEST_F(RotationTest, AKeyOfMacsHasOneMaterialAndNoId) {
  const std::string key = MakeKey("EXTERNAL", "HMAC_256");
  NewMaterial();
  for (const json& option :
       {json{{"ImportType", kNew}}, json{{"KeyMaterialDescription", "a"}},
        json{{"KeyMaterialId", std::string(64, 'a')}}})
    EXPECT_EQ(Import(key, kSha256, option), "UnsupportedOperationException");
  const json answer = Must(kCfo, "ImportKeyMaterial", WrappedRequest(key));
  EXPECT_FALSE(answer.contains("KeyMaterialId"));
  EXPECT_EQ(Current(key), "");
  EXPECT_EQ(Rotate(key), "UnsupportedOperationException");
}

TEST_F(RotationTest, RowsOfBeforeKnowOfOneMaterial) {
  const std::string key = Imported();
  KeyRecord record;
  record.origin = Origin::kExternal;
  record.policy_text = kPolicy;
  json row = ToJson(record);
  EXPECT_EQ(ParseKey(key, row, "000000000000")->materials.size(), 0u);
  const Bytes identity = RandomBytes(32);
  row["materialIdentity"] = ToBase64(identity);
  row["validTo"] = Milliseconds(clock_.Now());
  const auto parsed = ParseKey(key, row, "000000000000");
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  ASSERT_EQ(parsed->materials.size(), 1u);
  EXPECT_EQ(parsed->materials[0].version, 1u);
  EXPECT_EQ(parsed->materials[0].identity, identity);
  EXPECT_EQ(parsed->materials[0].valid_to, clock_.Now());
  EXPECT_FALSE(parsed->materials[0].pending());
  EXPECT_EQ(ToJson(*parsed), row) << "one material is written as it was";
  KeyRecord several = *parsed;
  several.materials[0].description = "HSM 1";
  EXPECT_FALSE(ToJson(several).contains("materialIdentity"));
  EXPECT_EQ(ParseKey(key, ToJson(several), "000000000000")->materials[0].description,
            "HSM 1");
  row.erase("materialIdentity");
  EXPECT_EQ(ParseKey(key, row, "000000000000").status().error(), Error::kCorrupt);
}

TEST_F(RotationTest, AKeyIsRotatedOnDemand25Times) {
  const std::string key = MakeKey();
  for (int i = 0; i < 25; ++i) ASSERT_EQ(Rotate(key), "ok") << i;
  EXPECT_EQ(Rotate(key), "LimitExceededException");
  // By itself it goes on.
  Must(kCfo, "EnableKeyRotation", {{"KeyId", key}, {"RotationPeriodInDays", 90}});
  clock_.Advance(days(91));
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(Materials(key).size(), 27u);
}

}  // namespace
}  // namespace keyfold
