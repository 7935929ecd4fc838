// Does a node lead to the object it was given out for, and to no other?
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "fs/fuse/InodeTable.h"

namespace keyfold {
namespace {

class InodeTableTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/var/tmp/keyfold-inodes-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    path_ = path;
    folder_ = UniqueFd(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // No descriptors for anchors: all are handles.
    budget_ = std::make_shared<DescriptorBudget>(UniqueFd(::dup(folder_.get())), 0);
    root_ = std::make_shared<Inode>();
    root_->node = 1;
    root_->lookups = 1;
    table_ = std::make_unique<InodeTable>(root_);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  void Make(const char* name) {
    ASSERT_TRUE(OpenAt(folder_.get(), name, O_CREAT | O_EXCL | O_WRONLY, 0600).ok());
  }
  InodeRef Lookup(const char* name) {
    auto fd = OpenAt(folder_.get(), name, O_PATH);
    struct stat st {};
    EXPECT_EQ(::fstatat(fd->get(), "", &st, AT_EMPTY_PATH), 0);
    auto fresh = std::make_shared<Inode>();
    fresh->ino = st.st_ino;
    fresh->anchor = Anchor::Of(budget_, std::move(*fd));
    return table_->Add(std::move(fresh), root_, name);
  }

  std::string path_;
  UniqueFd folder_;
  std::shared_ptr<DescriptorBudget> budget_;
  InodeRef root_;
  std::unique_ptr<InodeTable> table_;
};

TEST_F(InodeTableTest, OneObjectIsOneNodeUntilItIsForgotten) {
  Make("a");
  ASSERT_EQ(::linkat(folder_.get(), "a", folder_.get(), "b", 0), 0);
  const InodeRef inode = Lookup("a");
  EXPECT_EQ(Lookup("b"), inode);
  EXPECT_EQ(table_->PlaceOf(inode).name, "b");
  table_->Forget(inode->node, 1);
  EXPECT_EQ(table_->Get(inode->node), inode);
  table_->Forget(inode->node, 1);
  EXPECT_EQ(table_->Get(inode->node), nullptr);
}

TEST_F(InodeTableTest, ANumberUsedAgainIsAnotherObject) {
  if (::geteuid() != 0) GTEST_SKIP() << "others hold descriptors";
  Make("old");
  const InodeRef old = Lookup("old");
  for (int tries = 0; tries < 1000; ++tries) {
    ::unlinkat(folder_.get(), "old", 0);
    Make("old");
    struct stat st {};
    ASSERT_EQ(::fstatat(folder_.get(), "old", &st, 0), 0);
    if (st.st_ino != old->ino) continue;
    const InodeRef now = Lookup("old");
    EXPECT_NE(now->node, old->node);
    EXPECT_TRUE(table_->Hold(now).ok());
    EXPECT_EQ(table_->Hold(old).status().sys_errno(), ESTALE);
    table_->Forget(old->node, 1);
    EXPECT_EQ(table_->Known(st.st_ino), now);
    return;
  }
  GTEST_SKIP() << "this filesystem uses no number again";
}

TEST_F(InodeTableTest, ADeepChainOfFoldersIsLetGo) {
  Make("file");
  InodeRef parent = root_;
  for (int depth = 0; depth < 1'000'000; ++depth) {
    auto folder = std::make_shared<Inode>();
    folder->parent = std::move(parent);
    parent = std::move(folder);
  }
  const InodeRef inode = Lookup("file");
  inode->parent = std::move(parent);
  EXPECT_EQ(Lookup("file"), inode);
  EXPECT_EQ(inode->parent, root_);
}

}  // namespace
}  // namespace keyfold
