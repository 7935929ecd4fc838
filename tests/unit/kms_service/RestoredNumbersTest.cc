// What a restore goes by when the log tells the numbers of versions, when it does not,
// and when there is no log; who may use a key that lost material.
#include "BackupFixture.h"
#include "kms/service/Backup.h"
#include "kms/service/Catalog.h"
#include "kms/service/Recorder.h"

namespace keyfold {
namespace {

constexpr char kInvalid[] = "KMSInvalidStateException";

class RestoredNumbersTest : public BackupFixture {
 protected:
  void SetUp() override {
    BackupFixture::SetUp();
    key_ = MakeKey("EXTERNAL");
  }
  static uint32_t NumberOf(const json& blob) {
    const Bytes bytes = FromBase64(blob.get<std::string>()).value_or(Bytes(21));
    return bytes[17] | bytes[18] << 8 | bytes[19] << 16 | bytes[20] << 24;
  }
  void ImportFirst() {
    NewMaterial();
    ASSERT_EQ(Import(key_), "ok");
    Shell("cp material first");
  }
  void Delete(const json& more) {
    json request = {{"KeyId", key_}};
    request.update(more);
    Must(kCfo, "DeleteImportedKeyMaterial", request);
  }
  // Whether the compliance tells of lost material.
  bool LacksMaterial() {
    const json answer = Must(kRootUid, "audit", "DescribeCompliance", json::object());
    for (const json& finding : answer["Findings"])
      if (finding["Rule"] == "imported-material-not-lost" &&
          finding["Resource"].get<std::string>().ends_with(key_))
        return finding["Compliance"] == "NON_COMPLIANT";
    return false;
  }
  // The key as the log makes it of the backup without what records of before told.
  KeyRecord ReplayedOfOld(const Bytes& backup) {
    kms_.reset();
    const RootSecrets secrets{RootKey(CopySecret(root_))};
    auto store = CreateSqliteKeyStore(folder_ + "/old.db").value();
    EXPECT_TRUE(store->Commit(OpenBackup(secrets.backup, backup).value()).ok());
    const auto catalog = Catalog::Load(std::move(store), secrets).value();
    AuditFilter filter;
    filter.after_sequence = catalog->sealed().head.sequence;
    auto log = AuditLog::Open(folder_, CopySecret(secrets.audit), clock_).value();
    std::vector<json> records = log->ReadAll(filter).value();
    for (json& record : records)
      if (const auto data = record.find("additionalEventData");
          data != record.end() && data->is_object())
        for (const char* told : {kKeyMaterialVersion, kCurrentAtOnce, kKeyEnabled})
          data->erase(told);
    Transaction transaction(*catalog->state());
    ReplayChanges(records, account_, transaction);
    return *transaction.next().FindKey(key_);
  }

  std::string key_;
};

TEST_F(RestoredNumbersTest, WhatOnlyWaitedIsNotMadeCurrent) {
  const Bytes backup = BackUp();
  ImportFirst();
  ImportNew(key_, "second");
  ASSERT_EQ(Rotate(key_), "ok");
  ImportNew(key_, "third");
  ASSERT_EQ(Rotate(key_), "ok");
  const json blob = Encrypted(key_);
  RestoreAndOpen(backup);
  for (const char* name : {"first", "second", "third"})
    EXPECT_EQ(ImportFrom(name, key_), "ok");
  EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
  EXPECT_EQ(NumberOf(Encrypted(key_)), 3u);
}

TEST_F(RestoredNumbersTest, PendingMaterialDeletedSinceBindsNothing) {
  const Bytes backup = BackUp();
  ImportFirst();
  Must(kCfo, "DisableKey", {{"KeyId", key_}});
  const std::string second = ImportNew(key_, "second")["KeyMaterialId"];
  Delete({{"KeyMaterialId", second}});
  RestoreAndOpen(backup);
  EXPECT_EQ(Materials(key_).size(), 1u);
  EXPECT_EQ(ImportFrom("first", key_), "ok");
  EXPECT_EQ(State(key_), "Disabled");
}

TEST_F(RestoredNumbersTest, BytesThatTheBackupLacksBindTheKeyAsBefore) {
  ImportFirst();
  Delete(json::object());
  const Bytes backup = BackUp();
  ASSERT_EQ(ImportFrom("first", key_), "ok");
  ImportNew(key_, "second");
  RestoreAndOpen(backup);
  EXPECT_EQ(Materials(key_).size(), 1u) << "the second was never in use";
}

TEST_F(RestoredNumbersTest, RestoresOfDifferentBackupsGiveNoNumberTwice) {
  const Bytes empty = BackUp();
  ImportFirst();
  const Bytes first = BackUp();
  RestoreAndOpen(empty);
  ImportNew(key_, "second");
  const json blob = Encrypted(key_);
  ASSERT_EQ(NumberOf(blob), 2u);
  RestoreAndOpen(first);
  ImportNew(key_, "third");
  ASSERT_EQ(Rotate(key_), "ok");
  EXPECT_EQ(NumberOf(Encrypted(key_)), 3u);
  EXPECT_EQ(ImportFrom("second", key_), "ok");
  EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
}

TEST_F(RestoredNumbersTest, WhatWaitedOnceAndWasCurrentLaterIsKept) {
  const Bytes backup = BackUp();
  ImportFirst();
  ImportNew(key_, "second");
  RestoreAndOpen(backup);
  EXPECT_TRUE(LacksMaterial());
  ASSERT_EQ(ImportFrom("second", key_, {{"ImportType", kNew}}), "ok");
  const json blob = Encrypted(key_);
  RestoreAndOpen(backup);
  ASSERT_EQ(ImportFrom("second", key_), "ok");
  EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
  EXPECT_TRUE(LacksMaterial());
  ASSERT_EQ(ImportFrom("first", key_), "ok");
  EXPECT_FALSE(LacksMaterial());
}

TEST_F(RestoredNumbersTest, OlderRecordsAreReplayedByHowKeysGiveNumbers) {
  const Bytes backup = BackUp();
  ImportFirst();
  ImportNew(key_, "second");
  ASSERT_EQ(Rotate(key_), "ok");
  ImportNew(key_, "third");
  const KeyRecord key = ReplayedOfOld(backup);
  ASSERT_EQ(key.materials.size(), 2u);
  EXPECT_TRUE(key.materials[1].rotated && key.materials[1].lost);
  EXPECT_EQ(key.lost_version, 3u) << "it may have been in use";
}

TEST_F(RestoredNumbersTest, ADeletionThatNamesNoneIsOfOneMaterial) {
  const Bytes empty = BackUp();
  Delete(json::object());  // there is none
  ImportFirst();
  ImportNew(key_, "second");
  ASSERT_EQ(Rotate(key_), "ok");
  const json blob = Encrypted(key_);
  const Bytes full = BackUp();
  RestoreAndOpen(empty);
  Delete(json::object());
  RestoreAndOpen(full);
  EXPECT_EQ(Materials(key_)[0]["ImportState"], "IMPORTED");
  EXPECT_EQ(Materials(key_)[1]["ImportState"], "PENDING_IMPORT");
  EXPECT_EQ(State(key_), "PendingImport");
  EXPECT_EQ(ImportFrom("second", key_), "ok");
  EXPECT_EQ(Decrypted(blob)["Plaintext"], "aGk=");
}

TEST_F(RestoredNumbersTest, OtherMaterialEnablesNoKeyThatLostSome) {
  const Bytes backup = BackUp();
  ImportFirst();
  Must(kCfo, "DisableKey", {{"KeyId", key_}});
  RestoreAndOpen(backup);
  ImportNew(key_, "second");
  EXPECT_EQ(State(key_), "Disabled");
}

TEST_F(RestoredNumbersTest, NoImportEnablesAKeyWhosePolicyIsUnsure) {
  ImportFirst();
  Delete(json::object());
  const Bytes backup = BackUp();
  Must(kCfo, "PutKeyPolicy",
       {{"KeyId", key_}, {"Policy", kPolicy + std::string(5000, '#')}});
  RestoreAndOpen(backup);
  ASSERT_EQ(ImportFrom("first", key_), "ok");
  EXPECT_EQ(State(key_), "Disabled");
  ASSERT_TRUE(Reopen().ok());
  Delete(json::object());
  ASSERT_EQ(ImportFrom("first", key_), "ok");
  EXPECT_EQ(State(key_), "Disabled");
  Must(kCfo, "EnableKey", {{"KeyId", key_}});
  Delete(json::object());
  ASSERT_EQ(ImportFrom("first", key_), "ok");
  EXPECT_EQ(State(key_), "Enabled");
}

TEST_F(RestoredNumbersTest, AnArchiveAwayInTheMiddleIsMissed) {
  const Bytes backup = BackUp();
  std::vector<std::string> archives;
  for (int i = 0; i < 3; ++i) {
    MakeKey();
    Must(kRootUid, "audit", "ArchiveLog", json::object());
  }
  const json listed = Must(kRootUid, "audit", "ListArchives", json::object());
  for (const json& archive : listed["Archives"]) archives.push_back(archive["Archive"]);
  ASSERT_EQ(archives.size(), 3u);
  Must(kRootUid, "audit", "ReleaseLog", {{"Archive", archives[2]}});
  kms_.reset();
  ASSERT_TRUE(RestoreFrom(backup, Options()).ok());
  std::filesystem::rename(folder_ + "/" + archives[1], folder_ + "/away");
  const auto restored = RestoreFrom(backup, Options());
  EXPECT_EQ(restored.status().error(), Error::kCorrupt);
  const std::string first =
      std::to_string(listed["Archives"][1]["FirstRecord"].get<uint64_t>());
  EXPECT_NE(restored.status().message().find("record " + first), std::string::npos)
      << restored.status().message();
}

TEST_F(RestoredNumbersTest, WithoutTheLogNumbersGoOnFarAhead) {
  const std::string made = MakeKey();
  ImportFirst();
  const Bytes backup = BackUp();
  ImportNew(key_, "second");
  for (const std::string& key : {made, key_}) ASSERT_EQ(Rotate(key), "ok");
  const json blobs[] = {Encrypted(made), Encrypted(key_)};
  kms_.reset();
  std::filesystem::resize_file(folder_ + "/audit.log", 0);
  RestoreOptions options = Options();
  options.new_log = folder_ + "/new-log";
  std::filesystem::create_directory(options.new_log);
  ASSERT_TRUE(RestoreFrom(backup, std::move(options)).ok());
  std::filesystem::rename(folder_ + "/new.db", folder_ + "/keys.db");
  std::filesystem::rename(folder_ + "/new-log/audit.log", folder_ + "/audit.log");
  ASSERT_TRUE(Open().ok());
  ImportNew(key_, "third");
  for (const std::string& key : {made, key_}) {
    ASSERT_EQ(Rotate(key), "ok");
    EXPECT_EQ(NumberOf(Encrypted(key)), 65538u);
  }
  for (const json& blob : blobs)
    EXPECT_NE(Try(kCfo, "Decrypt", {{"CiphertextBlob", blob}}), "ok");
}

TEST_F(RestoredNumbersTest, KeysOfMacsTakeTheSameMaterialAgain) {
  key_ = MakeKey("EXTERNAL", "HMAC_256");
  const Bytes backup = BackUp();
  ImportFirst();
  json request = {
      {"KeyId", key_}, {"Message", "aGk="}, {"MacAlgorithm", "HMAC_SHA_256"}};
  request["Mac"] = Must(kCfo, "GenerateMac", request)["Mac"];
  RestoreAndOpen(backup);
  EXPECT_EQ(State(key_), "PendingImport");
  NewMaterial();
  EXPECT_EQ(Import(key_), "IncorrectKeyMaterialException");
  ASSERT_EQ(ImportFrom("first", key_), "ok");
  EXPECT_EQ(Must(kCfo, "VerifyMac", request)["MacValid"], true);
  Delete(json::object());
  EXPECT_EQ(Try(kCfo, "VerifyMac", request), kInvalid);
  RestoreAndOpen(backup);
  EXPECT_EQ(Try(kCfo, "VerifyMac", request), kInvalid);
  ASSERT_EQ(ImportFrom("first", key_), "ok");
  EXPECT_EQ(Must(kCfo, "VerifyMac", request)["MacValid"], true);
}

}  // namespace
}  // namespace keyfold
