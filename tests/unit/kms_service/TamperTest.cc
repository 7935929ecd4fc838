// Is a key store that somebody edited, or put back, noticed?
#include <sqlite3.h>

#include "KmsFixture.h"

namespace keyfold {
namespace {

class TamperTest : public KmsTest {
 protected:
  void Sql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((folder_ + "/keys.db").c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK)
        << error;
    sqlite3_free(error);
    sqlite3_close(db);
  }
  void ExpectCorrupt() {
    const Status opened = Open();
    EXPECT_EQ(opened.error(), Error::kCorrupt) << opened.ToString();
  }
};

TEST_F(TamperTest, EveryTableIsAuthenticated) {
  FillTables();
  kms_.reset();
  Snapshot("good");
  for (Table table : kAllTables) {
    const std::string name(TableName(table));
    for (const std::string& sql :
         {"UPDATE " + name + " SET body = body || ' ' WHERE rowid_or_first;",
          "DELETE FROM " + name + " WHERE rowid_or_first;",
          "UPDATE " + name + " SET mac = zeroblob(32) WHERE rowid_or_first;",
          "INSERT INTO " + name + " SELECT id || 'x', body, mac FROM " + name +
              " LIMIT 1;"}) {
      std::string filled = sql;
      const std::string first = "id = (SELECT min(id) FROM " + name + ")";
      if (const size_t at = filled.find("rowid_or_first"); at != std::string::npos)
        filled.replace(at, 14, first);
      Sql(filled);
      ExpectCorrupt();
      Restore("good", "keys.db");
    }
  }
  EXPECT_TRUE(Open().ok());
}

TEST_F(TamperTest, AnOldRowPutBackIsNoticed) {
  const std::string key = MakeKey();
  kms_.reset();
  Snapshot("old");
  ASSERT_TRUE(Open().ok());
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  kms_.reset();
  Sql("ATTACH '" + folder_ +
      "/old/keys.db' AS old;"
      "REPLACE INTO keys SELECT * FROM old.keys WHERE id = '" +
      key + "';");
  ExpectCorrupt();
}

TEST_F(TamperTest, AnOldKeyStorePutBackIsNoticed) {
  const std::string key = MakeKey();
  kms_.reset();
  Snapshot("old");
  ASSERT_TRUE(Open().ok());
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  kms_.reset();
  Restore("old", "keys.db");
  ExpectCorrupt();
}

TEST_F(TamperTest, AnOldKeyStoreIsNoticedAfterAKillToo) {
  const std::string key = MakeKey();
  ASSERT_TRUE(kms_->Tick().ok());
  Snapshot("old");
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  ASSERT_TRUE(kms_->Tick().ok());
  Snapshot("killed");
  kms_.reset();
  Restore("killed", "audit.log");
  Restore("killed", "keys.db");
  ASSERT_TRUE(Open().ok());
  kms_.reset();
  Restore("killed", "audit.log");
  Restore("old", "keys.db");
  ExpectCorrupt();
}

TEST_F(TamperTest, ACutAuditLogIsNoticed) {
  MakeKey();
  kms_.reset();
  Snapshot("good");
  std::ifstream in(folder_ + "/audit.log");
  std::string line, kept;
  std::vector<std::string> lines;
  while (std::getline(in, line)) lines.push_back(line + "\n");
  for (size_t i = 0; i + 1 < lines.size(); ++i) kept += lines[i];
  std::ofstream(folder_ + "/audit.log", std::ios::trunc) << kept;
  ExpectCorrupt();
  // Trying again changes nothing.
  ExpectCorrupt();
  std::ifstream after(folder_ + "/audit.log");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(after), {}), kept);
  // Not even a log cut inside a record.
  kept.pop_back();
  kept.pop_back();
  std::ofstream(folder_ + "/audit.log", std::ios::trunc) << kept;
  ExpectCorrupt();
  ExpectCorrupt();
}

TEST_F(TamperTest, ACommitThatNeverHappenedIsRecovered) {
  const std::string key = MakeKey();
  ASSERT_TRUE(kms_->Tick().ok());
  Snapshot("before");
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  std::filesystem::copy_file(folder_ + "/audit.log", folder_ + "/after.log");
  kms_.reset();
  // As if killed between the record and the commit.
  Restore("before", "keys.db");
  std::filesystem::copy_file(folder_ + "/after.log", folder_ + "/audit.log",
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(State(key), "Enabled");
  EXPECT_EQ(Try(kRootUid, "VerifyLog", json::object(), "audit"), "ok");
  ASSERT_TRUE(Reopen().ok());
}

TEST_F(TamperTest, AnotherRootKeyOpensNothing) {
  kms_.reset();
  root_ = RandomSecret(kKeySize);
  ExpectCorrupt();
}

}  // namespace
}  // namespace keyfold
