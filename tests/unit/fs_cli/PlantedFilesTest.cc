// Do files of a store that somebody planted lead nowhere, and keep nobody waiting?
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "fs/cli/RekeyJournal.h"
#include "fs/cli/StoreLock.h"
#include "tests/unit/fs_cli/StoreFixture.h"

namespace keyfold {
namespace {

namespace fs = std::filesystem;

class PlantedFilesTest : public StoreTest {
 protected:
  // Plant calls `test` with each kind of object in the place of `name`.
  void Plant(const std::string& name, const std::function<void()>& test) {
    const fs::path path = fs::path(store_) / name, victim = folder_ / "victim";
    std::ofstream(victim) << "precious";
    const std::function<void()> kinds[] = {
        [&] { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0); },
        [&] { fs::create_symlink(victim, path); },
        [&] { fs::create_directory(path); },
    };
    for (const auto& make : kinds) {
      fs::remove(path);
      make();
      test();
      EXPECT_EQ(fs::file_size(victim), 8u);
    }
    fs::remove(path);
  }
};

TEST_F(PlantedFilesTest, ForItsConfiguration) {
  Plant("keyfold.json",
        [&] { EXPECT_EQ(ReadStoreConfig(store_).status().error(), Error::kCorrupt); });
}

TEST_F(PlantedFilesTest, ForItsLock) {
  Plant("lock", [&] {
    EXPECT_FALSE(StoreLock::Take(store_).ok());
    EXPECT_FALSE(StoreLock::IsHeld(store_));
  });
  // A second name of somebody's file.
  fs::create_hard_link(folder_ / "victim", fs::path(store_) / "lock");
  EXPECT_EQ(StoreLock::Take(store_).status().error(), Error::kCorrupt);
  EXPECT_EQ(fs::file_size(folder_ / "victim"), 8u);
}

TEST_F(PlantedFilesTest, ForJournalsOfRekey) {
  ASSERT_EQ(::setenv("XDG_STATE_HOME", folder_.path().c_str(), 1), 0);
  const fs::path journals = folder_ / "keyfold", elsewhere = folder_ / "elsewhere";
  fs::create_directory(elsewhere);
  fs::create_symlink(elsewhere, journals);
  EXPECT_FALSE(RekeyJournal::Open({"/a"}, "k", false).ok());
  EXPECT_TRUE(fs::is_empty(elsewhere));
  fs::remove(journals);
  fs::create_directory(journals);
  fs::permissions(journals, fs::perms::group_all, fs::perm_options::add);
  EXPECT_EQ(RekeyJournal::Open({"/a"}, "k", false).status().error(),
            Error::kAccessDenied);
  fs::permissions(journals, fs::perms::group_all, fs::perm_options::remove);
  EXPECT_TRUE(RekeyJournal::Open({"/a"}, "k", false).ok());
  ::unsetenv("XDG_STATE_HOME");
}

}  // namespace
}  // namespace keyfold
