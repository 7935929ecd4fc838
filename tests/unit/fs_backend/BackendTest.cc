// Do the system calls under the vault do what their header says?
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <future>
#include <set>
#include <thread>

#include "NoTmpfile.h"
#include "fs/backend/Backend.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

class BackendTest : public testing::Test {
 protected:
  void SetUp() override {
    auto fd = OpenAt(AT_FDCWD, folder_.path(), O_PATH | O_DIRECTORY);
    ASSERT_TRUE(fd.ok()) << fd.status().ToString();
    fd_ = std::move(*fd);
  }
  UniqueFd MakeFile(const std::string& name) {
    auto fd = OpenAt(fd_.get(), name, O_RDWR | O_CREAT | O_EXCL, 0600);
    EXPECT_TRUE(fd.ok()) << fd.status().ToString();
    return fd.ok() ? std::move(*fd) : UniqueFd();
  }
  std::set<std::string> Entries() {
    std::set<std::string> names;
    auto fd = OpenAt(fd_.get(), ".", O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(ForEachEntry(std::move(*fd), [&](const char* name) {
                  EXPECT_TRUE(names.insert(name).second) << name;
                }).ok());
    return names;
  }

  TempFolder folder_;
  UniqueFd fd_;  // O_PATH
};

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST_F(BackendTest, ADescriptorHasOneOwner) {
  UniqueFd a = MakeFile("a");
  const int number = a.get();
  UniqueFd b(std::move(a));
  EXPECT_FALSE(a.valid());  // NOLINT: what is left behind is the point
  EXPECT_EQ(b.get(), number);
  UniqueFd c = MakeFile("c");
  const int other = c.get();
  c = std::move(b);
  EXPECT_FALSE(IsOpen(other));
  EXPECT_EQ(c.get(), number);
  c.Close();
  EXPECT_FALSE(IsOpen(number));
}

TEST_F(BackendTest, OpeningFollowsNoLinkAndIsNotInherited) {
  MakeFile("file");
  ASSERT_EQ(::symlinkat("file", fd_.get(), "link"), 0);
  EXPECT_EQ(OpenAt(fd_.get(), "link", O_RDONLY).status().sys_errno(), ELOOP);
  EXPECT_EQ(OpenAt(fd_.get(), "none", O_RDONLY).status().sys_errno(), ENOENT);
  const auto fd = OpenAt(fd_.get(), "file", O_PATH);
  ASSERT_TRUE(fd.ok());
  EXPECT_EQ(::fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
  const auto real = Reopen(fd->get(), O_RDONLY);
  ASSERT_TRUE(real.ok());
  EXPECT_EQ(::fcntl(real->get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(BackendTest, WhatHasNoNameAnyMoreOpensAgain) {
  ASSERT_TRUE(WriteAt(MakeFile("file").get(), 0, AsBytes("text")).ok());
  const auto fd = OpenAt(fd_.get(), "file", O_PATH);
  ASSERT_EQ(::unlinkat(fd_.get(), "file", 0), 0);
  const auto real = Reopen(fd->get(), O_RDONLY);
  ASSERT_TRUE(real.ok()) << real.status().ToString();
  Bytes out(4);
  EXPECT_EQ(ReadAt(real->get(), 0, out).value(), 4u);
  EXPECT_EQ(AsText(out), "text");
}

TEST_F(BackendTest, AFullDeviceIsSaidToBeFull) {
  const auto full = OpenAt(AT_FDCWD, "/dev/full", O_WRONLY);
  ASSERT_TRUE(full.ok());
  const Status status = WriteAt(full->get(), 0, AsBytes("x"));
  EXPECT_EQ(status.error(), Error::kSystem);
  EXPECT_EQ(status.sys_errno(), ENOSPC);
}

TEST_F(BackendTest, LinksAreReadByNameAndByDescriptor) {
  const std::string text(4095, 'x');
  ASSERT_EQ(::symlinkat(text.c_str(), fd_.get(), "link"), 0);
  EXPECT_EQ(ReadLinkAt(fd_.get(), "link").value(), text);
  const auto link = OpenAt(fd_.get(), "link", O_PATH);
  ASSERT_TRUE(link.ok());
  EXPECT_EQ(ReadLinkAt(link->get(), "").value(), text);
  MakeFile("file");
  EXPECT_EQ(ReadLinkAt(fd_.get(), "file").status().sys_errno(), EINVAL);
}

TEST_F(BackendTest, EveryEntryIsVisitedOnce) {
  std::set<std::string> made;
  for (int i = 0; i < 2000; ++i) {
    made.insert("entry-" + std::to_string(i));
    MakeFile("entry-" + std::to_string(i));
  }
  EXPECT_EQ(Entries(), made);
  const Status status = ForEachEntry(MakeFile("file"), [](const char*) {});
  EXPECT_EQ(status.sys_errno(), ENOTDIR);
}

TEST_F(BackendTest, AFolderIsSyncedByAnyDescriptorOfIt) {
  EXPECT_TRUE(SyncFolder(fd_.get()).ok());
  EXPECT_EQ(SyncFolder(MakeFile("file").get()).sys_errno(), ENOTDIR);
}

TEST_F(BackendTest, AttributesOfEverySizeComeBack) {
  const UniqueFd file = MakeFile("file");
  const auto path = OpenAt(fd_.get(), "file", O_PATH);
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(GetXattr(path->get(), "user.none").value(), std::nullopt);
  for (size_t size : {0, 1, 255, 256, 257, 1000, 3000}) {
    for (int fd : {file.get(), path->get()}) {
      const Bytes value(size, static_cast<uint8_t>(size));
      ASSERT_TRUE(SetXattr(fd, "user.test", value).ok()) << size;
      EXPECT_EQ(GetXattr(fd, "user.test").value(), value) << size;
    }
  }
  EXPECT_EQ(SetXattr(file.get(), "user.test", {}, XATTR_CREATE).sys_errno(), EEXIST);
  EXPECT_EQ(SetXattr(path->get(), "user.new", {}, XATTR_REPLACE).sys_errno(), ENODATA);
  EXPECT_EQ(SetXattr(file.get(), "user.test", Bytes(1 << 20)).sys_errno(), E2BIG);
}

TEST_F(BackendTest, TheLargestAttributeOfTheKernelComesBack) {
  const Bytes value(65536, 7);
  for (const char* parent : {"/dev/shm", "/var/tmp"}) {
    if (::access(parent, W_OK) != 0) continue;
    const TempFolder other(parent);
    const auto fd = OpenAt(AT_FDCWD, other / "file", O_RDWR | O_CREAT, 0600);
    ASSERT_TRUE(fd.ok());
    const Status set = SetXattr(fd->get(), "user.test", value);
    if (!set.ok()) continue;  // smaller limits, or none at all
    EXPECT_EQ(GetXattr(fd->get(), "user.test").value(), value);
    return;
  }
  GTEST_SKIP() << "no filesystem here takes an attribute of 64 KiB";
}

// With unnamed files, and where a filesystem has none.
class NewFileTest : public BackendTest, public testing::WithParamInterface<int> {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (GetParam() != 0) no_tmpfile_.emplace(GetParam());
  }
  bool unnamed() const { return GetParam() == 0; }
  std::optional<NoTmpfile> no_tmpfile_;
};

TEST_P(NewFileTest, GetsItsNameWhole) {
  auto made = NewFile::Create(fd_.get(), 0640);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  ASSERT_TRUE(WriteAt(made->fd(), 0, AsBytes("text")).ok());
  EXPECT_FALSE(Entries().contains("file"));
  EXPECT_EQ(Entries().size(), unnamed() ? 0u : 1u);
  // Any descriptor of it will do.
  const auto path = Reopen(made->fd(), O_PATH);
  ASSERT_TRUE(path.ok());
  const UniqueFd real = made->TakeFd();
  const Status published = made->Publish(path->get(), "file");
  ASSERT_TRUE(published.ok()) << published.ToString();
  EXPECT_EQ(Entries(), std::set<std::string>{"file"});
  struct stat by_name, by_fd;
  ASSERT_EQ(::fstatat(fd_.get(), "file", &by_name, 0), 0);
  ASSERT_EQ(::fstat(real.get(), &by_fd), 0);
  EXPECT_EQ(by_name.st_ino, by_fd.st_ino);
  EXPECT_EQ(by_name.st_nlink, 1u);
  EXPECT_EQ(by_name.st_size, 4);
}

TEST_P(NewFileTest, TakesNoNameThatIsTaken) {
  ASSERT_TRUE(WriteAt(MakeFile("file").get(), 0, AsBytes("old")).ok());
  {
    auto made = NewFile::Create(fd_.get(), 0640);
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(made->Publish(made->fd(), "file").sys_errno(), EEXIST);
  }
  EXPECT_EQ(Entries(), std::set<std::string>{"file"});
  struct stat st;
  ASSERT_EQ(::fstatat(fd_.get(), "file", &st, 0), 0);
  EXPECT_EQ(st.st_size, 3);
}

TEST_P(NewFileTest, LeavesNothingWhenDropped) {
  { ASSERT_TRUE(NewFile::Create(fd_.get(), 0640).ok()); }
  EXPECT_TRUE(Entries().empty());
  {
    auto made = NewFile::Create(fd_.get(), 0640);
    const NewFile moved(std::move(*made));
  }
  EXPECT_TRUE(Entries().empty());
}

TEST_P(NewFileTest, LeavesOnlyWhatIsKnownAsTemporaryWhenKilled) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto made = NewFile::Create(fd_.get(), 0640);
    ::_exit(made.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const auto left = Entries();
  EXPECT_EQ(left.size(), unnamed() ? 0u : 1u);
  for (const auto& name : left) EXPECT_TRUE(name.starts_with(kTemporaryPrefix)) << name;
}

INSTANTIATE_TEST_SUITE_P(All, NewFileTest,
                         testing::Values(0, EOPNOTSUPP, EISDIR, EINVAL),
                         [](const auto& refusal) -> std::string {
                           if (refusal.param == 0) return "Unnamed";
                           return std::string("Without") +
                                  ::strerrorname_np(refusal.param);
                         });

TEST_F(BackendTest, NoFallbackHidesARealError) {
  const NoTmpfile full(ENOSPC);
  EXPECT_EQ(NewFile::Create(fd_.get(), 0640).status().sys_errno(), ENOSPC);
  EXPECT_TRUE(Entries().empty());
}

TEST(TemporaryNameTest, NoTwoAreAlike) {
  std::set<std::string> names;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = TemporaryName();
    EXPECT_TRUE(name.starts_with(kTemporaryPrefix));
    EXPECT_TRUE(names.insert(name).second);
  }
}

// Users and groups that need no entry in /etc/passwd.
constexpr uid_t kUser = 54321;
constexpr gid_t kGroup = 54322, kOtherGroup = 54323;

class AsCallerTest : public BackendTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "acting as another user needs root";
    BackendTest::SetUp();
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0777), 0);
  }
  FsIdentity Identity() {
    return {kUser, kGroup, [this] {
              ++lookups_;
              return std::vector<gid_t>{kOtherGroup};
            }};
  }
  struct stat StatOf(const std::string& name) {
    struct stat st {};
    EXPECT_EQ(::fstatat(fd_.get(), name.c_str(), &st, 0), 0);
    return st;
  }
  void MakeGroupFolder() {
    ASSERT_EQ(::mkdirat(fd_.get(), "shared", 0770), 0);
    ASSERT_EQ(::fchownat(fd_.get(), "shared", 0, kOtherGroup, 0), 0);
  }
  auto Maker(const std::string& name) {
    return [this, name] { return OpenAt(fd_.get(), name, O_RDWR | O_CREAT, 0644); };
  }

  int lookups_ = 0;
};

TEST_F(AsCallerTest, WhatIsMadeBelongsToTheUser) {
  {
    const AsCaller as(Identity(), AsCaller::Groups::kNone);
    MakeFile("theirs");
  }
  MakeFile("ours");
  EXPECT_EQ(StatOf("theirs").st_uid, kUser);
  EXPECT_EQ(StatOf("theirs").st_gid, kGroup);
  EXPECT_EQ(StatOf("ours").st_uid, 0u);
  EXPECT_EQ(StatOf("ours").st_gid, 0u);
  EXPECT_EQ(lookups_, 0);
}

TEST_F(AsCallerTest, NoOtherThreadActsAsTheUser) {
  std::promise<void> acting;
  std::thread other([&] {
    acting.get_future().wait();
    MakeFile("other-thread");
  });
  {
    const AsCaller as(Identity(), AsCaller::Groups::kSupplementary);
    acting.set_value();
    other.join();
    MakeFile("this-thread");
  }
  EXPECT_EQ(StatOf("other-thread").st_uid, 0u);
  EXPECT_EQ(StatOf("this-thread").st_uid, kUser);
}

TEST_F(AsCallerTest, GroupsAreLookedUpOnlyWhenTheyDecide) {
  ASSERT_TRUE(MakeAs(Identity(), false, Maker("anyone")).ok());
  EXPECT_EQ(lookups_, 0);
  MakeGroupFolder();
  ASSERT_TRUE(MakeAs(Identity(), false, Maker("shared/theirs")).ok());
  EXPECT_EQ(lookups_, 1);
  EXPECT_EQ(StatOf("shared/theirs").st_uid, kUser);
  ASSERT_TRUE(MakeAs(Identity(), true, Maker("again")).ok());
  EXPECT_EQ(lookups_, 2);
}

TEST_F(AsCallerTest, WhoIsNotInTheGroupIsRefused) {
  MakeGroupFolder();
  FsIdentity stranger = Identity();
  stranger.groups = [] { return std::vector<gid_t>{}; };
  EXPECT_EQ(MakeAs(stranger, false, Maker("shared/no")).status().sys_errno(), EACCES);
  // The groups of the one before are gone again.
  { const AsCaller as(Identity(), AsCaller::Groups::kSupplementary); }
  EXPECT_EQ(::getgroups(0, nullptr), 0);
}

}  // namespace
}  // namespace keyfold
