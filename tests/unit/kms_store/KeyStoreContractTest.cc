// What does every KeyStore promise? A further store is one more line in the
// INSTANTIATE at the end.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <thread>

#include "kms/store/KeyStore.h"

namespace keyfold {
namespace {

using Factory = Result<std::unique_ptr<KeyStore>> (*)(const std::string&);
struct StoreKind {
  const char* name;
  Factory create, open;
};

Change Put(Table table, std::string id, std::string body, Bytes mac = {1, 2, 3}) {
  return {table, {std::move(id), std::move(body), std::move(mac)}, false};
}
Change Remove(Table table, std::string id) {
  return {table, {std::move(id), "", {}}, true};
}

class KeyStoreContractTest : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/keyfold-store-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    auto made = GetParam().create(Path());
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    store_ = std::move(*made);
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  std::string Path() const { return folder_ + "/keys.db"; }
  void Reopen() {
    store_.reset();
    auto opened = GetParam().open(Path());
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    store_ = std::move(*opened);
  }
  std::vector<Row> All(Table table) {
    auto rows = store_->ReadAll(table);
    EXPECT_TRUE(rows.ok());
    return rows.ok() ? *rows : std::vector<Row>();
  }

  std::string folder_;
  std::unique_ptr<KeyStore> store_;
};

TEST_P(KeyStoreContractTest, NewStoreIsEmpty) {
  for (Table table : kAllTables) EXPECT_TRUE(All(table).empty());
}

TEST_P(KeyStoreContractTest, RowsSurviveReopenOrderedById) {
  ASSERT_TRUE(store_
                  ->Commit({Put(Table::kKeys, "b", "{\"n\":1}", {9}),
                            Put(Table::kKeys, "a", "{}", {}),
                            Put(Table::kGrants, "a", "other")})
                  .ok());
  Reopen();
  const auto rows = All(Table::kKeys);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].id, "a");
  EXPECT_TRUE(rows[0].mac.empty());
  EXPECT_EQ(rows[1].body, "{\"n\":1}");
  EXPECT_EQ(rows[1].mac, Bytes{9});
  EXPECT_EQ(All(Table::kGrants).size(), 1u);
  EXPECT_TRUE(All(Table::kAliases).empty());
}

TEST_P(KeyStoreContractTest, PutReplacesAndRemoveRemoves) {
  ASSERT_TRUE(store_->Commit({Put(Table::kAliases, "x", "1")}).ok());
  ASSERT_TRUE(store_->Commit({Put(Table::kAliases, "x", "2", {7})}).ok());
  ASSERT_EQ(All(Table::kAliases).size(), 1u);
  EXPECT_EQ(All(Table::kAliases)[0].body, "2");
  EXPECT_EQ(All(Table::kAliases)[0].mac, Bytes{7});
  ASSERT_TRUE(store_->Commit({Remove(Table::kAliases, "x")}).ok());
  EXPECT_TRUE(store_->Commit({Remove(Table::kAliases, "x")}).ok());
  EXPECT_TRUE(All(Table::kAliases).empty());
}

TEST_P(KeyStoreContractTest, ChangesApplyInOrder) {
  ASSERT_TRUE(store_
                  ->Commit({Put(Table::kKeys, "x", "1"), Remove(Table::kKeys, "x"),
                            Put(Table::kKeys, "x", "3")})
                  .ok());
  EXPECT_EQ(All(Table::kKeys)[0].body, "3");
}

TEST_P(KeyStoreContractTest, RefusedCommitChangesNothing) {
  const Status status = store_->Commit(
      {Put(Table::kKeys, "good", "1"), Put(Table::kKeys, std::string(513, 'x'), "1")});
  EXPECT_EQ(status.error(), Error::kValidation);
  EXPECT_EQ(store_->Commit({Put(Table::kKeys, "", "1")}).error(), Error::kValidation);
  EXPECT_TRUE(All(Table::kKeys).empty());
  EXPECT_TRUE(store_->Commit({}).ok());
}

TEST_P(KeyStoreContractTest, BytesAreKeptExactly) {
  const std::string id("a\0'; DROP TABLE keys;--", 23);
  const std::string body(300000, 'z');
  ASSERT_TRUE(store_->Commit({Put(Table::kKeys, id, body, Bytes(64, 0))}).ok());
  Reopen();
  const auto rows = All(Table::kKeys);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].id, id);
  EXPECT_EQ(rows[0].body, body);
  EXPECT_EQ(rows[0].mac, Bytes(64, 0));
}

TEST_P(KeyStoreContractTest, SecondOpenIsLockedUntilTheFirstCloses) {
  EXPECT_EQ(GetParam().open(Path()).status().error(), Error::kLocked);
  // The refused attempt must not have loosened the first one's lock.
  EXPECT_EQ(GetParam().open(Path()).status().error(), Error::kLocked);
  ASSERT_TRUE(store_->Commit({Put(Table::kKeys, "a", "1")}).ok());
  Reopen();
  EXPECT_EQ(GetParam().open(Path()).status().error(), Error::kLocked);
}

TEST_P(KeyStoreContractTest, CreateRefusesAnExistingStore) {
  EXPECT_EQ(GetParam().create(Path()).status().sys_errno(), EEXIST);
  Reopen();
}

TEST_P(KeyStoreContractTest, OpenOfNothingIsEnoent) {
  EXPECT_EQ(GetParam().open(folder_ + "/none").status().sys_errno(), ENOENT);
}

TEST_P(KeyStoreContractTest, ConcurrentCommitsAllArrive) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([this, t] {
      for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(
            store_
                ->Commit({Put(Table::kGrants,
                              std::to_string(t) + "-" + std::to_string(i), "{}")})
                .ok());
        EXPECT_TRUE(store_->ReadAll(Table::kGrants).ok());
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(All(Table::kGrants).size(), 40u);
}

INSTANTIATE_TEST_SUITE_P(Sqlite, KeyStoreContractTest,
                         testing::Values(StoreKind{"sqlite", CreateSqliteKeyStore,
                                                   OpenSqliteKeyStore}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace keyfold
