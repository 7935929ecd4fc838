// Do anchors lead to their object, whatever becomes of its name and of the budget?
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "fs/backend/Anchor.h"

namespace keyfold {
namespace {

class AnchorTest : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    char path[] = "/var/tmp/keyfold-anchor-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    path_ = path;
    folder_ = UniqueFd(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(folder_.valid());
    budget_ =
        std::make_shared<DescriptorBudget>(UniqueFd(::dup(folder_.get())), GetParam());
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  std::shared_ptr<const Anchor> AnchorOf(const std::string& name) {
    auto fd = OpenAt(folder_.get(), name, O_PATH);
    EXPECT_TRUE(fd.ok()) << fd.status().ToString();
    return Anchor::Of(budget_, std::move(*fd));
  }
  static ino_t InodeOf(const std::shared_ptr<const Anchor>& anchor) {
    auto held = Anchor::Hold(anchor);
    EXPECT_TRUE(held.ok()) << held.status().ToString();
    struct stat st {};
    EXPECT_EQ(::fstatat(held->get(), "", &st, AT_EMPTY_PATH), 0);
    return st.st_ino;
  }
  ino_t InodeAt(const std::string& name) {
    struct stat st {};
    EXPECT_EQ(::fstatat(folder_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_ino;
  }

  std::string path_;
  UniqueFd folder_;
  std::shared_ptr<DescriptorBudget> budget_;
};

TEST_P(AnchorTest, LeadsToFilesFoldersAndLinks) {
  ASSERT_TRUE(OpenAt(folder_.get(), "file", O_CREAT | O_WRONLY, 0600).ok());
  ASSERT_EQ(::mkdirat(folder_.get(), "folder", 0700), 0);
  ASSERT_EQ(::symlinkat("nowhere", folder_.get(), "link"), 0);
  for (const char* name : {"file", "folder", "link"})
    EXPECT_EQ(InodeOf(AnchorOf(name)), InodeAt(name)) << name;
  EXPECT_EQ(budget_->held(), 0u);
}

TEST_P(AnchorTest, FollowsARenamedObject) {
  ASSERT_TRUE(OpenAt(folder_.get(), "before", O_CREAT | O_WRONLY, 0600).ok());
  const auto anchor = AnchorOf("before");
  ASSERT_EQ(::renameat(folder_.get(), "before", folder_.get(), "after"), 0);
  ASSERT_TRUE(OpenAt(folder_.get(), "before", O_CREAT | O_WRONLY, 0600).ok());
  EXPECT_EQ(InodeOf(anchor), InodeAt("after"));
}

INSTANTIATE_TEST_SUITE_P(DescriptorsAndHandles, AnchorTest, ::testing::Values(0, 100));

TEST(DescriptorBudgetTest, BeyondTheBudgetNoDescriptorIsHeld) {
  if (::geteuid() != 0) GTEST_SKIP() << "handles are opened by root only";
  char path[] = "/var/tmp/keyfold-anchor-XXXXXX";
  ASSERT_NE(::mkdtemp(path), nullptr);
  const UniqueFd folder(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto budget =
      std::make_shared<DescriptorBudget>(UniqueFd(::dup(folder.get())), size_t{1});
  ASSERT_TRUE(OpenAt(folder.get(), "gone", O_CREAT | O_WRONLY, 0600).ok());
  auto first = Anchor::Of(budget, std::move(*OpenAt(folder.get(), "gone", O_PATH)));
  EXPECT_EQ(budget->held(), 1u);
  const auto second =
      Anchor::Of(budget, std::move(*OpenAt(folder.get(), "gone", O_PATH)));
  EXPECT_EQ(budget->held(), 1u);
  ASSERT_EQ(::unlinkat(folder.get(), "gone", 0), 0);
  EXPECT_TRUE(Anchor::Hold(second).ok()) << "the first keeps it alive";
  first.reset();
  EXPECT_EQ(budget->held(), 0u);
  EXPECT_EQ(Anchor::Hold(second).status().sys_errno(), ESTALE);
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace keyfold
