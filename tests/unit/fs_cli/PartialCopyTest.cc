// Is what a killed copy left told from what another one makes, and does a name that is
// taken stay?
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "fs/cli/PartialCopy.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

namespace fs = std::filesystem;

class PartialCopyTest : public testing::Test {
 protected:
  void SetUp() override {
    in_ = *OpenAt(AT_FDCWD, folder_.path(), O_RDONLY | O_DIRECTORY);
  }
  UniqueFd Make(const std::string& name) {
    return *OpenAt(in_.get(), name, O_RDWR | O_CREAT | O_EXCL, 0600);
  }
  bool Sweep() {
    return SweepPartials(in_.get(),
                         [](const std::string& name, const Status& why) {
                           ADD_FAILURE() << name << ": " << why.message();
                         })
        .ok();
  }

  TempFolder folder_;
  UniqueFd in_;
};

TEST_F(PartialCopyTest, NamesAreToldFromOthers) {
  const std::string name = NewPartialName();
  EXPECT_TRUE(IsPartialName(name));
  EXPECT_NE(name, NewPartialName());
  EXPECT_FALSE(IsPartialName(name + "0"));
  EXPECT_FALSE(IsPartialName(name.substr(1)));
  EXPECT_FALSE(IsPartialName(name.substr(0, name.size() - 1) + "G"));
}

TEST_F(PartialCopyTest, ASweepRemovesWhatNobodyMakesAnyMore) {
  const std::string file = NewPartialName(), folder = NewPartialName(),
                    link = NewPartialName(), made = NewPartialName();
  (void)Make(file);
  (void)Make("other");
  ASSERT_EQ(::mkdirat(in_.get(), folder.c_str(), 0700), 0);
  ASSERT_EQ(::symlinkat("other", in_.get(), link.c_str()), 0);
  {
    const UniqueFd held = Make(made);
    ASSERT_TRUE(LockPartial(held.get()).ok());
    ASSERT_TRUE(Sweep());
    EXPECT_EQ(*SortedEntries(in_.get()), (std::vector<std::string>{made, "other"}));
  }
  ASSERT_TRUE(Sweep());
  EXPECT_EQ(*SortedEntries(in_.get()), std::vector<std::string>{"other"});
}

TEST_F(PartialCopyTest, ASweepTellsWhatItCannotRemove) {
  const std::string folder = NewPartialName();
  fs::create_directories(folder_ / folder + "/full");
  std::string told;
  ASSERT_TRUE(SweepPartials(in_.get(), [&](const std::string& name, const Status& why) {
                EXPECT_EQ(why.sys_errno(), ENOTEMPTY);
                told = name;
              }).ok());
  EXPECT_EQ(told, folder);
}

TEST_F(PartialCopyTest, ANameThatIsTakenStaysUnlessItMayBeReplaced) {
  const std::string partial = NewPartialName();
  const UniqueFd made = Make(partial);
  const UniqueFd theirs = Make("name");
  struct stat before, now;
  ASSERT_EQ(::fstat(theirs.get(), &before), 0);
  EXPECT_EQ(GivePartialItsName(in_.get(), partial, "name", false).sys_errno(), EEXIST);
  ASSERT_EQ(::fstatat(in_.get(), "name", &now, 0), 0);
  EXPECT_EQ(now.st_ino, before.st_ino);
  EXPECT_TRUE(GivePartialItsName(in_.get(), partial, "name", true).ok());
  ASSERT_EQ(::fstatat(in_.get(), "name", &now, 0), 0);
  EXPECT_NE(now.st_ino, before.st_ino);
  EXPECT_EQ(*SortedEntries(in_.get()), std::vector<std::string>{"name"});
}

}  // namespace
}  // namespace keyfold
