// What backs a key store up and restores it, beside the audit log as it is by then.
#pragma once

#include "ImportFixture.h"
#include "kms/service/Restore.h"

namespace keyfold {

class BackupFixture : public ImportFixture {
 protected:
  void SetUp() override {
    KmsTest::SetUp();
    Caller service = By(0);
    service.is_service = true;
    const auto id = kms_->ResolveKey("alias/aws/fs");
    ASSERT_TRUE(id.ok());
    auto wrapped = kms_->GenerateDataKey(service, *id, kContext, "");
    ASSERT_TRUE(wrapped.ok()) << wrapped.status().ToString();
    metadata_ = wrapped->blob;
  }

  Bytes BackUp() {
    const json made = Must(kRootUid, "store", "BackupKeyStore", json::object());
    return FromBase64(made.value("Backup", "")).value_or(Bytes());
  }
  RestoreOptions Options() const {
    RestoreOptions options;
    options.audit_folder = folder_;
    options.metadata_key = metadata_;
    options.metadata_context = kContext;
    options.caller = By(kRootUid);
    return options;
  }
  // Restores into a new file; the Kms must be closed.
  Result<Restored> RestoreFrom(ByteView backup, RestoreOptions options) {
    std::filesystem::remove(folder_ + "/new.db");
    auto store = CreateSqliteKeyStore(folder_ + "/new.db");
    EXPECT_TRUE(store.ok());
    return RestoreKeyStore(std::move(store).value(), RootKey(CopySecret(root_)), backup,
                           std::move(options), clock_);
  }
  // Restores and opens what came of it.
  Restored RestoreAndOpen(ByteView backup) {
    kms_.reset();
    RestoreOptions options = Options();
    options.former = OpenSqliteKeyStore(folder_ + "/keys.db").value();
    auto restored = RestoreFrom(backup, std::move(options));
    EXPECT_TRUE(restored.ok()) << restored.status().ToString();
    std::filesystem::rename(folder_ + "/new.db", folder_ + "/keys.db");
    const Status opened = Open();
    EXPECT_TRUE(opened.ok()) << opened.ToString();
    return restored.ok() ? *restored : Restored();
  }
  json EncryptedUnder(const std::string& key) {
    return Must(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", ToBase64(kPlain)}});
  }
  std::string TryDecrypt(const json& encrypted) {
    return Try(kCfo, "Decrypt", {{"CiphertextBlob", encrypted["CiphertextBlob"]}});
  }

  const EncryptionContext kContext = {{"keyfold:purpose", "metadata"}};
  const Bytes kPlain = {1, 2, 3};
  Bytes metadata_;
};

}  // namespace keyfold
