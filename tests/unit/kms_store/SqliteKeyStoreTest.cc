// Does the SQLite store refuse what is not its own, and survive damage, full
// disks and sudden death?
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kms/store/KeyStore.h"

namespace keyfold {
namespace {

class SqliteKeyStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/keyfold-sqlite-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/keys.db";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void CreateFilled() {
    auto store = CreateSqliteKeyStore(path_);
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    std::vector<Change> changes;
    for (int i = 0; i < 100; ++i)
      changes.push_back(
          {Table::kKeys,
           {"key-" + std::to_string(i), std::string(200, 'b'), Bytes(32, 5)}});
    ASSERT_TRUE((*store)->Commit(changes).ok());
  }
  void Raw(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK)
        << message;
    sqlite3_close(db);
  }
  Error OpenError() { return OpenSqliteKeyStore(path_).status().error(); }

  std::string folder_, path_;
};

TEST_F(SqliteKeyStoreTest, FileIsPrivateWhateverTheUmask) {
  const mode_t old = umask(0);
  CreateFilled();
  umask(old);
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(SqliteKeyStoreTest, ForeignFilesAreNotAStore) {
  std::ofstream(path_) << std::string(8192, 'x');
  EXPECT_EQ(OpenError(), Error::kNotAStore);
  std::ofstream(path_, std::ios::trunc) << "";
  EXPECT_EQ(OpenError(), Error::kCorrupt);
  EXPECT_EQ(std::filesystem::file_size(path_), 0u) << "changed by looking";
  std::filesystem::remove(path_);
  Raw("CREATE TABLE keys (id TEXT)");
  EXPECT_EQ(OpenError(), Error::kNotAStore);
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_EQ(OpenError(), Error::kNotAStore);
}

TEST_F(SqliteKeyStoreTest, LinkIsRefusedButAFolderMayBeOne) {
  CreateFilled();
  std::filesystem::create_symlink(path_, folder_ + "/link");
  EXPECT_EQ(OpenSqliteKeyStore(folder_ + "/link").status().sys_errno(), ELOOP);
  std::filesystem::create_directory_symlink(folder_, folder_ + "/folder");
  EXPECT_TRUE(OpenSqliteKeyStore(folder_ + "/folder/keys.db").ok());
}

TEST_F(SqliteKeyStoreTest, NewerFormatIsNamed) {
  CreateFilled();
  Raw("PRAGMA user_version=4");
  EXPECT_EQ(OpenError(), Error::kNewerFormat);
  Raw("PRAGMA user_version=0");
  EXPECT_EQ(OpenError(), Error::kCorrupt);
}

TEST_F(SqliteKeyStoreTest, AnOlderFormatStaysUntilItIsRaised) {
  CreateFilled();
  Raw("PRAGMA user_version=1");
  const auto format = [this] {
    auto store = OpenSqliteKeyStore(path_);
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    return store.ok() ? (*store)->format() : 0;
  };
  {
    auto store = OpenSqliteKeyStore(path_);
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)->Commit({{Table::kKeys, {"new", "1", {}}, false}}).ok());
  }
  EXPECT_EQ(format(), 1);
  {
    auto store = OpenSqliteKeyStore(path_);
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)->RaiseFormat(2).ok());
    EXPECT_EQ((*store)->format(), 2);
    ASSERT_TRUE((*store)->RaiseFormat(1).ok());
    EXPECT_EQ((*store)->format(), 2) << "never lowered";
  }
  EXPECT_EQ(format(), 2);
  EXPECT_EQ((*OpenSqliteKeyStore(path_))->ReadAll(Table::kKeys)->size(), 101u);
}

TEST_F(SqliteKeyStoreTest, ChangedSchemaIsCorrupt) {
  for (const char* sql :
       {"CREATE TRIGGER t AFTER INSERT ON keys BEGIN DELETE FROM keys; END",
        "CREATE INDEX i ON keys (body)", "DROP TABLE grants",
        "DROP TABLE grants; CREATE VIEW grants AS SELECT * FROM keys",
        "ALTER TABLE keys ADD COLUMN more TEXT"}) {
    std::filesystem::remove(path_);
    CreateFilled();
    Raw(sql);
    EXPECT_EQ(OpenError(), Error::kCorrupt) << sql;
  }
}

TEST_F(SqliteKeyStoreTest, WalModeDatabaseIsTakenBackToARollbackJournal) {
  CreateFilled();
  Raw("PRAGMA journal_mode=WAL");
  auto store = OpenSqliteKeyStore(path_);
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  ASSERT_TRUE((*store)->Commit({{Table::kKeys, {"new", "1", {}}, false}}).ok());
  EXPECT_FALSE(std::filesystem::exists(path_ + "-wal"));
}

TEST_F(SqliteKeyStoreTest, FlippedBytesNeverCrashNorAddRows) {
  CreateFilled();
  std::ifstream in(path_, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  size_t refused = 0;
  for (size_t at = 0; at < good.size(); at += at < 128 ? 1 : 331) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0xff);
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bad;
    auto store = OpenSqliteKeyStore(path_);
    if (!store.ok()) {
      ++refused;
      const Error error = store.status().error();
      EXPECT_TRUE(error == Error::kCorrupt || error == Error::kNotAStore ||
                  error == Error::kNewerFormat || error == Error::kSystem)
          << at << store.status().ToString();
      continue;
    }
    auto rows = (*store)->ReadAll(Table::kKeys);
    if (rows.ok()) {
      EXPECT_LE(rows->size(), 100u);
    } else {
      EXPECT_EQ(rows.status().error(), Error::kCorrupt);
    }
  }
  EXPECT_GT(refused, 20u);
}

TEST_F(SqliteKeyStoreTest, TruncatedFileIsCorrupt) {
  CreateFilled();
  const auto size = std::filesystem::file_size(path_);
  for (uintmax_t less : {uintmax_t{1}, uintmax_t{4096}, size / 2, size - 4096}) {
    std::filesystem::resize_file(path_, size - less);
    EXPECT_EQ(OpenError(), Error::kCorrupt) << less;
    std::filesystem::remove(path_);
    CreateFilled();
  }
  std::filesystem::resize_file(path_, 50);
  EXPECT_EQ(OpenError(), Error::kCorrupt);
}

TEST_F(SqliteKeyStoreTest, FullDiskKeepsWhatWasThere) {
  CreateFilled();
  auto store = OpenSqliteKeyStore(path_);
  ASSERT_TRUE(store.ok());
  signal(SIGXFSZ, SIG_IGN);
  rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{std::filesystem::file_size(path_) + 20000, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status full =
      (*store)->Commit({{Table::kKeys, {"key-1", "changed", {}}, false},
                        {Table::kKeys, {"big", std::string(1 << 20, 'x'), {}}, false}});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(full.error(), Error::kSystem) << full.ToString();
  auto rows = (*store)->ReadAll(Table::kKeys);
  ASSERT_TRUE(rows.ok()) << rows.status().ToString();
  ASSERT_EQ(rows->size(), 100u);
  EXPECT_EQ((*rows)[1].body, std::string(200, 'b'));
  EXPECT_TRUE((*store)->Commit({{Table::kKeys, {"more", "1", {}}, false}}).ok());
  EXPECT_EQ(OpenError(), Error::kLocked);
}

TEST_F(SqliteKeyStoreTest, OtherProcessIsLockedOut) {
  CreateFilled();
  auto store = OpenSqliteKeyStore(path_);
  ASSERT_TRUE(store.ok());
  const pid_t child = fork();
  if (child == 0) _exit(OpenError() == Error::kLocked ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Each commit writes the same number to two tables; after a kill they must
// agree, and be at least what was reported before it.
TEST_F(SqliteKeyStoreTest, KilledInACommitLoopLosesNothingReported) {
  CreateFilled();
  for (int round = 0; round < 8; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      auto store = OpenSqliteKeyStore(path_);
      if (!store.ok()) _exit(1);
      for (int i = 1;; ++i) {
        const std::string n = std::to_string(i);
        if (!(*store)
                 ->Commit({{Table::kKeys, {"n", n + std::string(9000, ' '), {}}, false},
                           {Table::kAliases, {"n", n, {}}, false}})
                 .ok())
          _exit(1);
        if (write(ends[1], &i, sizeof i) != sizeof i) _exit(1);
      }
    }
    close(ends[1]);
    int reported = 0, last = 0;
    for (int i = 0; i < 3 && read(ends[0], &last, sizeof last) == sizeof last; ++i)
      reported = last;
    usleep(static_cast<useconds_t>(700 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(ends[0], &last, sizeof last) == sizeof last) reported = last;
    close(ends[0]);
    ASSERT_GT(reported, 0);
    auto store = OpenSqliteKeyStore(path_);
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    auto keys = (*store)->ReadAll(Table::kKeys);
    auto aliases = (*store)->ReadAll(Table::kAliases);
    ASSERT_TRUE(keys.ok() && aliases.ok());
    ASSERT_EQ(keys->size(), 101u);
    EXPECT_EQ(std::stoi(keys->back().body), std::stoi(aliases->back().body));
    EXPECT_GE(std::stoi(aliases->back().body), reported);
  }
}

}  // namespace
}  // namespace keyfold
