// Does a backup come back whole or not at all, and does nothing that was taken away
// since come back with it?
#include "BackupFixture.h"
#include "kms/service/Backup.h"
#include "kms/service/Material.h"

namespace keyfold {
namespace {

// LossyStore leaves out the first row of a table.
class LossyStore : public KeyStore {
 public:
  LossyStore(std::unique_ptr<KeyStore> store, const std::optional<Table>& missing)
      : store_(std::move(store)), missing_(missing) {}
  int format() const override { return store_->format(); }
  Status RaiseFormat(int format) override { return store_->RaiseFormat(format); }
  Result<std::vector<Row>> ReadAll(Table table) override {
    auto rows = store_->ReadAll(table);
    if (rows.ok() && !rows->empty() && missing_ == table) rows->erase(rows->begin());
    return rows;
  }
  Status Commit(const std::vector<Change>& changes) override {
    return store_->Commit(changes);
  }

 private:
  const std::unique_ptr<KeyStore> store_;
  const std::optional<Table>& missing_;
};

class BackupTest : public BackupFixture {};

TEST_F(BackupTest, GivesBackEveryKeyAliasAndGrant) {
  const std::string key = MakeKey();
  Must(kCfo, "CreateAlias", {{"AliasName", "alias/cfo"}, {"TargetKeyId", key}});
  Must(kCfo, "CreateGrant",
       {{"KeyId", key},
        {"GranteePrincipal", "user:uid:60002"},
        {"Operations", {"Decrypt"}}});
  const json encrypted = EncryptedUnder(key);
  const Bytes backup = BackUp();
  const Restored restored = RestoreAndOpen(backup);
  EXPECT_TRUE(restored.replayed.open.empty());
  EXPECT_EQ(TryDecrypt(encrypted), "ok");
  EXPECT_EQ(
      Try(kAccounts, "Decrypt", {{"CiphertextBlob", encrypted["CiphertextBlob"]}}),
      "ok");
  EXPECT_EQ(Must(kCfo, "DescribeKey", {{"KeyId", "alias/cfo"}})["KeyMetadata"]["KeyId"],
            key);
  EXPECT_TRUE(Reopen().ok());
  Must(kRootUid, "audit", "VerifyLog", json::object());
}

TEST_F(BackupTest, IsForTheAccountsRootAndAdministrators) {
  EXPECT_EQ(Try(kRootUid, "BackupKeyStore", json::object(), "store"), "ok");
  EXPECT_EQ(Try(kSysadmin, "BackupKeyStore", json::object(), "store"), "ok");
  for (uid_t uid : {kCfo, kAccounts, kNobody}) {
    EXPECT_EQ(Try(uid, "BackupKeyStore", json::object(), "store"),
              "AccessDeniedException");
    const json record = Must(kRootUid, "audit", "LookupEvents",
                             {{"User", "uid:" + std::to_string(uid)}})["Events"]
                            .back();
    EXPECT_EQ(record["eventName"], "BackupKeyStore");
    EXPECT_EQ(record["errorCode"], "AccessDeniedException");
  }
}

TEST_F(BackupTest, RecordsNothingOfItsContents) {
  const Bytes backup = BackUp();
  const std::string record = LastRecord().dump();
  EXPECT_NE(record.find("BackupKeyStore"), std::string::npos);
  EXPECT_LT(record.size(), 4096u);
}

TEST_F(BackupTest, ShowsNoPolicyAndNoName) {
  const std::string key = MakeKey();
  Must(kCfo, "CreateAlias", {{"AliasName", "alias/secret"}, {"TargetKeyId", key}});
  const Bytes backup = BackUp();
  const std::string_view text = AsText(backup);
  for (const std::string& word :
       {std::string("alias/secret"), key, std::string("kms:")})
    EXPECT_EQ(text.find(word), std::string_view::npos) << word;
}

TEST_F(BackupTest, RowsThatProgramsOfBeforeCannotReadRaiseTheFormats) {
  const auto format_now = [this] {
    kms_.reset();
    const int format = OpenSqliteKeyStore(folder_ + "/keys.db").value()->format();
    EXPECT_TRUE(Open().ok());
    return format;
  };
  const std::string key = Imported();
  Must(kCfo, "RotateKeyOnDemand", {{"KeyId", MakeKey()}});
  EXPECT_EQ(format_now(), 2);
  EXPECT_EQ(BackUp()[8], 1);
  ImportNew(key, "second");
  EXPECT_EQ(format_now(), 3);
  const Bytes backup = BackUp();
  EXPECT_EQ(backup[8], 2);
  EXPECT_EQ(DescribeBackup(backup)->format, 2);
  RestoreAndOpen(backup);
  EXPECT_EQ(format_now(), 3);
  ASSERT_EQ(Rotate(key), "ok");
}

TEST_F(BackupTest, ADescriptionOrALostVersionRaisesTheFormat) {
  const std::string made = MakeKey();
  const Bytes backup = BackUp();
  ASSERT_EQ(Rotate(made), "ok");
  RestoreAndOpen(backup);
  EXPECT_EQ(BackUp()[8], 2);
  KeyRecord record;
  EXPECT_EQ(KeyStoreFormatOf(record), kOldestKeyStoreFormat);
  record.materials.push_back({1, Bytes(32), {}, "HSM 1", {}, {}, false});
  EXPECT_EQ(KeyStoreFormatOf(record), kNewestKeyStoreFormat);
  record.materials[0].description.clear();
  EXPECT_EQ(KeyStoreFormatOf(record), kOldestKeyStoreFormat);
}

TEST_F(BackupTest, AnyChangedByteIsRefused) {
  MakeKey();
  const Bytes backup = BackUp();
  const RootSecrets secrets{RootKey(CopySecret(root_))};
  ASSERT_TRUE(OpenBackup(secrets.backup, backup).ok());
  for (size_t i = 0; i < backup.size(); ++i) {
    Bytes changed = backup;
    changed[i] ^= 0x40;
    const auto opened = OpenBackup(secrets.backup, changed);
    ASSERT_FALSE(opened.ok()) << "byte " << i;
    const Error expected = i < 8 ? Error::kNotAStore : Error::kCorrupt;
    if (i == 8 || i == 9)
      EXPECT_EQ(opened.status().error(), Error::kNewerFormat) << i;
    else
      ASSERT_EQ(opened.status().error(), expected) << i;
  }
}

TEST_F(BackupTest, AnyChangeThatMendsTheChecksumIsRefused) {
  const Bytes backup = BackUp();
  const RootSecrets secrets{RootKey(CopySecret(root_))};
  for (size_t i = 14; i < backup.size() - kSha256Size; i += 7) {
    Bytes changed = backup;
    changed[i] ^= 1;
    const Sha256Digest digest =
        Sha256(ByteView(changed).first(changed.size() - kSha256Size));
    std::copy(digest.begin(), digest.end(), changed.end() - kSha256Size);
    (void)DescribeBackup(changed);  // believes nothing
    ASSERT_EQ(OpenBackup(secrets.backup, changed).status().error(),
              Error::kWrongCredential)
        << i;
  }
}

TEST_F(BackupTest, AnyCutIsRefused) {
  const Bytes backup = BackUp();
  const RootSecrets secrets{RootKey(CopySecret(root_))};
  for (size_t size = 0; size < backup.size(); ++size)
    ASSERT_FALSE(OpenBackup(secrets.backup, ByteView(backup).first(size)).ok()) << size;
  Bytes longer = backup;
  longer.push_back(0);
  EXPECT_EQ(OpenBackup(secrets.backup, longer).status().error(), Error::kCorrupt);
}

TEST_F(BackupTest, AnotherRootKeyIsRefused) {
  const Bytes backup = BackUp();
  kms_.reset();
  root_ = RandomSecret(kKeySize);
  EXPECT_EQ(RestoreFrom(backup, Options()).status().error(), Error::kWrongCredential);
}

TEST_F(BackupTest, AnotherStoresMetadataKeyIsRefused) {
  const Bytes backup = BackUp();
  kms_.reset();
  RestoreOptions options = Options();
  options.metadata_context = {{"keyfold:purpose", "other"}};
  EXPECT_EQ(RestoreFrom(backup, std::move(options)).status().error(), Error::kCorrupt);
}

TEST_F(BackupTest, RowsThatAreNotWhatWasWrittenAreNotBackedUp) {
  MakeKey();
  kms_.reset();
  std::optional<Table> missing;
  auto opened =
      Kms::Open(std::make_unique<LossyStore>(
                    OpenSqliteKeyStore(folder_ + "/keys.db").value(), missing),
                RootKey(CopySecret(root_)), folder_, clock_);
  ASSERT_TRUE(opened.ok());
  kms_ = std::move(opened).value();
  for (Table table : kAllTables) {
    missing = table;
    const bool empty = table == Table::kGrants || table == Table::kImportParameters;
    EXPECT_EQ(Try(kRootUid, "BackupKeyStore", json::object(), "store"),
              empty ? "ok" : "IntegrityFailure")
        << TableName(table);
  }
  missing.reset();
  EXPECT_EQ(Try(kRootUid, "BackupKeyStore", json::object(), "store"), "ok");
  kms_.reset();
}

TEST_F(BackupTest, AKeyWhosePolicyIsNotKnownStaysDisabled) {
  const std::string unknown = MakeKey(), known = MakeKey();
  const Bytes backup = BackUp();
  std::string longer = kPolicy;
  longer += "# " + std::string(5000, 'x') + "\n";  // too long for its record
  for (const std::string& key : {unknown, known}) {
    Must(kCfo, "PutKeyPolicy", {{"KeyId", key}, {"Policy", longer}});
    Must(kCfo, "DisableKey", {{"KeyId", key}});
    Must(kCfo, "EnableKey", {{"KeyId", key}});
  }
  Must(kCfo, "PutKeyPolicy", {{"KeyId", known}, {"Policy", kPolicy}});

  const Restored restored = RestoreAndOpen(backup);
  EXPECT_EQ(restored.replayed.open.size(), 2u);
  EXPECT_EQ(State(unknown), "Disabled");
  EXPECT_EQ(State(known), "Enabled");
}

TEST_F(BackupTest, WhatWasTakenAwaySinceIsTakenAwayAgain) {
  const std::string disabled = MakeKey(), scheduled = MakeKey(), destroyed = MakeKey(),
                    cancelled = MakeKey(), granted = MakeKey(), changed = MakeKey();
  Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", destroyed}, {"PendingWindowInDays", 7}});
  Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", cancelled}, {"PendingWindowInDays", 7}});
  const json grant = Must(kCfo, "CreateGrant",
                          {{"KeyId", granted},
                           {"GranteePrincipal", "user:uid:60002"},
                           {"Operations", {"Decrypt"}}});
  const Bytes backup = BackUp();

  Must(kCfo, "DisableKey", {{"KeyId", disabled}});
  Must(kCfo, "ScheduleKeyDeletion",
       {{"KeyId", scheduled}, {"PendingWindowInDays", 30}});
  Must(kCfo, "CancelKeyDeletion", {{"KeyId", cancelled}});
  Must(kCfo, "RevokeGrant", {{"KeyId", granted}, {"GrantId", grant["GrantId"]}});
  std::string policy = kPolicy;
  policy.erase(policy.find("  - {Sid: Use"));
  Must(kCfo, "PutKeyPolicy", {{"KeyId", changed}, {"Policy", policy}});
  Must(kRootUid, "iam", "ApplyIam",
       {{"Document", "users: {\"uid:60001\": {policies: [ConsoleReadOnlyAccess]}}\n"}});
  clock_.Advance(days(8));
  ASSERT_TRUE(kms_->Tick().ok());

  const Restored restored = RestoreAndOpen(backup);
  EXPECT_EQ(restored.replayed.done.size(), 7u);
  EXPECT_TRUE(restored.replayed.open.empty());
  EXPECT_EQ(State(disabled), "Disabled");
  EXPECT_EQ(State(scheduled), "PendingDeletion");
  EXPECT_EQ(State(cancelled), "Disabled");
  EXPECT_EQ(Try(kCfo, "DescribeKey", {{"KeyId", destroyed}}), "NotFoundException");
  EXPECT_TRUE(Must(kCfo, "ListGrants", {{"KeyId", granted}})["Grants"].empty());
  EXPECT_EQ(Try(kCfo, "Encrypt", {{"KeyId", changed}, {"Plaintext", "AAAA"}}),
            "AccessDeniedException");
  EXPECT_EQ(Try(kCfo, "CreateKey", json::object()), "AccessDeniedException");
}

TEST_F(BackupTest, AccessKeysDeletedOrDisabledSinceStaySo) {
  Must(kRootUid, "iam", "ApplyIam",
       {{"Document", "users: {root: {policies: [AdministratorAccess]}}\n"}});
  const json deleted = Must(0, "iam", "CreateAccessKey", json::object())["AccessKey"];
  const json disabled = Must(0, "iam", "CreateAccessKey", json::object())["AccessKey"];
  const Bytes backup = BackUp();
  Must(0, "iam", "DeleteAccessKey", {{"AccessKeyId", deleted["AccessKeyId"]}});
  Must(0, "iam", "UpdateAccessKey",
       {{"AccessKeyId", disabled["AccessKeyId"]}, {"Status", "Inactive"}});
  RestoreAndOpen(backup);
  const json left =
      Must(0, "iam", "ListAccessKeys", json::object())["AccessKeyMetadata"];
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0]["AccessKeyId"], disabled["AccessKeyId"]);
  EXPECT_EQ(left[0]["Status"], "Inactive");
}

TEST_F(BackupTest, WhatCannotBeMadeAgainIsListed) {
  const std::string key = MakeKey(), external = MakeKey("EXTERNAL");
  const Bytes backup = BackUp();
  const std::string late = MakeKey();
  Must(kCfo, "RotateKeyOnDemand", {{"KeyId", key}});
  std::string policy = kPolicy;
  policy.insert(0, "# " + std::string(5000, 'x') + "\n");
  Must(kCfo, "PutKeyPolicy", {{"KeyId", external}, {"Policy", policy}});
  Must(kCfo, "PutKeyPolicy", {{"KeyId", key}, {"Policy", policy}});
  const Restored restored = RestoreAndOpen(backup);
  ASSERT_EQ(restored.replayed.open.size(), 4u);
  EXPECT_NE(restored.replayed.open[0].find(late), std::string::npos);
  EXPECT_NE(restored.replayed.open[0].find("lost"), std::string::npos);
  EXPECT_EQ(State(key), "Disabled");  // its policy is not the one it should have
}

TEST_F(BackupTest, ARestoreIsOnRecordAndRaisesAnAlert) {
  const Bytes backup = BackUp();
  MakeKey();
  RestoreAndOpen(backup);
  const json events = Must(kRootUid, "audit", "LookupEvents", json::object())["Events"];
  json restored, alert;
  for (const json& event : events) {
    if (event["eventName"] == "RestoreKeyStore") restored = event;
    if (event["eventName"] == "KeyStoreRestored") alert = event;
  }
  ASSERT_FALSE(restored.is_null());
  EXPECT_EQ(restored["userIdentity"]["uid"], kRootUid);
  EXPECT_EQ(restored["additionalEventData"]["toLookAt"]["count"], 1);
  EXPECT_EQ(alert["eventSource"], "alerts.keyfold");
}

TEST_F(BackupTest, ALogThatLacksRecordsIsRefusedUnlessANewOneBegins) {
  const std::string key = MakeKey();
  const json encrypted = EncryptedUnder(key);
  const Bytes backup = BackUp();
  std::filesystem::create_directory(folder_ + "/new-log");
  kms_.reset();
  const auto fresh = [&] {
    RestoreOptions options = Options();
    options.new_log = folder_ + "/new-log";
    return options;
  };
  EXPECT_EQ(RestoreFrom(backup, fresh()).status().error(), Error::kUsage)
      << "log is whole";
  std::filesystem::resize_file(folder_ + "/audit.log", 0);
  EXPECT_EQ(RestoreFrom(backup, Options()).status().error(), Error::kCorrupt);
  const auto restored = RestoreFrom(backup, fresh());
  ASSERT_TRUE(restored.ok()) << restored.status().ToString();
  std::filesystem::rename(folder_ + "/new.db", folder_ + "/keys.db");
  std::filesystem::rename(folder_ + "/new-log/audit.log", folder_ + "/audit.log");
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(TryDecrypt(encrypted), "ok");
}

TEST_F(BackupTest, RestoresCutOffLeaveTheFormerStoreOfUse) {
  const Bytes backup = BackUp();
  const std::string key = MakeKey();
  for (int i = 0; i < 3; ++i) {
    kms_.reset();
    for (int k = 0; k < 2; ++k) {
      RestoreOptions options = Options();
      options.former = OpenSqliteKeyStore(folder_ + "/keys.db").value();
      ASSERT_TRUE(RestoreFrom(backup, std::move(options)).ok());
    }
    ASSERT_TRUE(Open().ok());  // what was restored is not put in place
    EXPECT_EQ(State(key), "Enabled");
  }
  RestoreAndOpen(backup);
  EXPECT_EQ(Try(kCfo, "DescribeKey", {{"KeyId", key}}), "NotFoundException");
}

TEST_F(BackupTest, ATokenUsedSinceIsNotGoodAgain) {
  const std::string key = MakeKey("EXTERNAL");
  const json parameters = Must(kCfo, "GetParametersForImport",
                               {{"KeyId", key},
                                {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                                {"WrappingKeySpec", "RSA_2048"}});
  const Bytes backup = BackUp();
  RestoreAndOpen(backup);
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial",
                {{"KeyId", key},
                 {"ImportToken", parameters["ImportToken"]},
                 {"EncryptedKeyMaterial", ToBase64(Bytes(256, 1))},
                 {"ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE"}}),
            "InvalidImportTokenException");
}

TEST_F(BackupTest, CheckingChangesNothing) {
  const Bytes backup = BackUp();
  const std::string key = MakeKey();
  kms_.reset();
  const auto size = std::filesystem::file_size(folder_ + "/audit.log");
  RestoreOptions options = Options();
  options.check_only = true;
  const auto checked = RestoreFrom(backup, std::move(options));
  ASSERT_TRUE(checked.ok()) << checked.status().ToString();
  EXPECT_EQ(checked->replayed.open.size(), 1u);
  EXPECT_EQ(std::filesystem::file_size(folder_ + "/audit.log"), size);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(State(key), "Enabled");
}

}  // namespace
}  // namespace keyfold
