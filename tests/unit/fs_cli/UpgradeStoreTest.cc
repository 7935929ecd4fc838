// Does a store of an older format become one of the newest, whenever that was cut off?
#include <fcntl.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "fs/cli/RootKeyChange.h"
#include "fs/cli/UpgradeStore.h"
#include "tests/unit/fs_cli/StoreFixture.h"

namespace keyfold {
namespace {

using nlohmann::json;
namespace files = std::filesystem;

constexpr off_t kUserVersion = 60;  // in the header of an SQLite file, big-endian

class UpgradeStoreTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    SetFormats(1, 1);
    files::copy(store_, folder_ / "pristine", files::copy_options::recursive);
  }

  void SetFormats(int store, uint8_t key_store) const {
    auto config = ReadStoreConfig(store_);
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    config->format = store;
    ASSERT_TRUE(WriteStoreConfig(store_, *config).ok());
    const UniqueFd fd(::open((store_ + "/keys.db").c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(WriteAt(fd.get(), kUserVersion, Bytes{0, 0, 0, key_store}).ok());
  }
  void StartOver() const {
    files::remove_all(store_);
    files::copy(folder_ / "pristine", store_, files::copy_options::recursive);
  }
  // Contents are all files of the store but the lock, with their text.
  std::map<std::string, std::string> Contents() const {
    std::map<std::string, std::string> all;
    for (const auto& entry : files::recursive_directory_iterator(store_)) {
      if (!entry.is_regular_file() || entry.path().filename() == "lock") continue;
      std::ifstream in(entry.path(), std::ios::binary);
      all[entry.path().string()] = {std::istreambuf_iterator<char>(in), {}};
    }
    return all;
  }
  Result<StoreUpgrade> Upgrade() const { return UpgradeStore({store_, ""}, nullptr); }
  std::pair<int, int> Formats() const {
    const auto config = ReadStoreConfig(store_);
    const auto keys = OpenSqliteKeyStore(store_ + "/keys.db");
    return {config.ok() ? config->format : 0, keys.ok() ? (*keys)->format() : 0};
  }
  void ExpectWhole(const std::string& when) const {
    auto store = OpenStore::Open(store_, "", nullptr);
    ASSERT_TRUE(store.ok()) << when << ": " << store.status().ToString();
    EXPECT_TRUE(store->OpenMetadataKey().ok()) << when;
    const auto verified =
        store->kms().Call(WhoeverRunsThis(), "audit", "VerifyLog", json::object());
    EXPECT_TRUE(verified.ok()) << when << ": " << verified.status().ToString();
  }
  bool UpgradeKilledAfter(int steps) const {
    return KilledAfter(steps, [this](std::function<void()> after_step) {
      UpgradeRequest request{store_, ""};
      request.after_step = std::move(after_step);
      return UpgradeStore(request, nullptr).status();
    });
  }
};

TEST_F(UpgradeStoreTest, AnUpgradeKilledAfterAnyStepIsGoneOnWith) {
  int steps = 0;
  while (UpgradeKilledAfter(++steps)) {
    const std::string when = "after step " + std::to_string(steps);
    ASSERT_LT(steps, 20);
    const auto again = Upgrade();
    ASSERT_TRUE(again.ok()) << when << ": " << again.status().ToString();
    EXPECT_EQ(Formats(), std::pair(2, 2)) << when;
    ExpectWhole(when);
    // What was replaced is there once, as it was.
    EXPECT_TRUE(files::exists(store_ + "/keyfold.json.before-upgrade-1")) << when;
    EXPECT_FALSE(files::exists(store_ + "/keyfold.json.before-upgrade-2")) << when;
    EXPECT_FALSE(files::exists(store_ + "/keys.db.before-upgrade-2")) << when;
    EXPECT_FALSE(files::exists(store_ + "/keys.db.upgrading")) << when;
    const auto kept = OpenSqliteKeyStore(store_ + "/keys.db.before-upgrade-1");
    ASSERT_TRUE(kept.ok()) << when << ": " << kept.status().ToString();
    EXPECT_EQ((*kept)->format(), 1) << when;
    StartOver();
  }
  EXPECT_EQ(steps, 6);
  EXPECT_EQ(Formats(), std::pair(2, 2));
}

TEST_F(UpgradeStoreTest, BetweenTheStepsTheStoreOpens) {
  for (int steps = 1; UpgradeKilledAfter(steps); ++steps) {
    ExpectWhole("after step " + std::to_string(steps));
    StartOver();
  }
}

TEST_F(UpgradeStoreTest, OpeningAnOlderStoreRaisesNothing) {
  ExpectWhole("of format 1");
  EXPECT_EQ(Formats(), std::pair(1, 1));
}

TEST_F(UpgradeStoreTest, WhatWasKeptCanBePutBackUntilTheStoreIsUsed) {
  ASSERT_TRUE(Upgrade().ok());
  for (const std::string name : {"/keys.db", "/keyfold.json"})
    files::rename(store_ + name + ".before-upgrade-1", store_ + name);
  EXPECT_EQ(Formats(), std::pair(1, 1));
  ExpectWhole("put back");
}

TEST_F(UpgradeStoreTest, EachPartIsRaisedByItself) {
  SetFormats(2, 1);
  const auto keys = Upgrade();
  ASSERT_TRUE(keys.ok()) << keys.status().ToString();
  EXPECT_EQ(keys->kept, std::vector<std::string>{"keys.db.before-upgrade-1"});
  SetFormats(1, 2);
  const auto config = Upgrade();
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->kept, std::vector<std::string>{"keyfold.json.before-upgrade-1"});
  EXPECT_EQ(Formats(), std::pair(2, 2));
}

TEST_F(UpgradeStoreTest, LookingChangesNothingAndNeedsNoRootKey) {
  files::remove(folder_ / "a.key");
  const auto before = Contents();
  const auto found = UpgradeStore({store_, "", /*dry_run=*/true}, nullptr);
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  EXPECT_TRUE(found->Needed());
  EXPECT_EQ(std::pair(found->format, found->key_store_format), std::pair(1, 1));
  EXPECT_EQ(Contents(), before);
  EXPECT_EQ(Upgrade().status().sys_errno(), ENOENT) << "upgraded without the root key";
  EXPECT_EQ(Contents(), before);
}

TEST_F(UpgradeStoreTest, AStoreOfTheNewestFormatIsLeftAlone) {
  SetFormats(2, 2);
  files::remove(folder_ / "a.key");
  const auto before = Contents();
  const auto found = Upgrade();
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  EXPECT_FALSE(found->Needed());
  EXPECT_EQ(Contents(), before);
}

TEST_F(UpgradeStoreTest, WhatCannotBeIsRefusedAndChangesNothing) {
  {
    auto store = OpenStore::Open(store_, "", nullptr);
    ASSERT_TRUE(store.ok());
    EXPECT_EQ(Upgrade().status().error(), Error::kLocked);
  }
  StartOver();
  for (const auto& [store, keys] : {std::pair(3, 1), std::pair(1, 4)}) {
    SetFormats(store, static_cast<uint8_t>(keys));
    const auto before = Contents();
    const Status refused = Upgrade().status();
    EXPECT_EQ(refused.error(), Error::kNewerFormat) << refused.ToString();
    EXPECT_NE(refused.message().find("format " + std::to_string(std::max(store, keys))),
              std::string::npos);
    EXPECT_EQ(OpenStore::Open(store_, "", nullptr).status().error(),
              Error::kNewerFormat);
    EXPECT_EQ(Contents(), before);
    StartOver();
  }
  // A damaged row: nothing is begun.
  const std::string text = Contents()[store_ + "/keys.db"];
  const size_t at = text.find("\"document\"");
  ASSERT_NE(at, std::string::npos);
  std::fstream(store_ + "/keys.db").seekp(static_cast<std::streamoff>(at))
      << "\"dxcument\"";
  EXPECT_EQ(Upgrade().status().error(), Error::kCorrupt);
  EXPECT_EQ(Formats(), std::pair(1, 1));
}

TEST_F(UpgradeStoreTest, AFormerRootKeyIsSaidToOpenWhatWasKept) {
  ASSERT_TRUE(Upgrade().ok());
  EXPECT_EQ(FormerKeyStores(store_),
            (std::vector<std::string>{store_ + "/keyfold.json.before-upgrade-1",
                                      store_ + "/keys.db.before-upgrade-1"}));
}

}  // namespace
}  // namespace keyfold
