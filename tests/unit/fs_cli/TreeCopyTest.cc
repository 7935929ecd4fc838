// Does a copy of a tree stay within its two folders, whatever others do there
// meanwhile; does it get down into any depth; is what is told true?
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "fs/cli/PartialCopy.h"
#include "fs/cli/TreeCopy.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kSomebody = 4711, kOther = 4712;

class TreeCopyTest : public testing::Test {
 protected:
  void SetUp() override {
    ::umask(022);  // others' tests leave theirs behind
    fs::create_directory(from_);
    fs::create_directory(to_);
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  }
  TreeCopyCounts Copy(const CopyPlan& plan = {}) {
    told_.clear();
    CopyListener listener;
    listener.failed = [&](const std::string& path, const Status& why) {
      told_ += path + ": " + why.message() + "\n";
    };
    listener.lost = [&](const std::string& path, const std::string& what,
                        const Status& why) {
      told_ += path + " loses " + what + ": " + why.message() + "\n";
    };
    listener.left_out = [&](const std::string& path, const std::string& why) {
      told_ += path + " is left out: " + why + "\n";
    };
    TreeCopy copy(plan, listener);
    auto to = OpenAt(AT_FDCWD, to_, O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(to.ok());
    const Status status = copy.Run(from_, *std::move(to), to_);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return copy.Counts();
  }
  static void Write(const std::string& path, const std::string& contents) {
    std::ofstream(path) << contents;
  }
  static std::string Read(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static struct stat StatusOfPath(const std::string& path) {
    struct stat st {};
    EXPECT_EQ(::lstat(path.c_str(), &st), 0) << path;
    return st;
  }

  TempFolder folder_{"/dev/shm"};  // where a sync of each folder costs nothing
  const std::string from_ = folder_ / "from", to_ = folder_ / "to";
  std::string told_;
};

TEST_F(TreeCopyTest, GoesDownAsDeepAsPathsGoWithFewDescriptors) {
  constexpr int kLevels = 2'100;  // of two bytes each: some are too deep
  UniqueFd at(::open(from_.c_str(), O_RDONLY | O_DIRECTORY));
  for (int i = 0; i < kLevels; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0755), 0);
    at = UniqueFd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY));
    ASSERT_TRUE(at.valid());
  }
  rlimit before, few{400, 0};
  ::getrlimit(RLIMIT_NOFILE, &before);
  few.rlim_max = before.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &few);
  const TreeCopyCounts counts = Copy();
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(counts.folders, 2'047u);
  EXPECT_EQ(counts.failed, 1u);
  EXPECT_NE(told_.find("it lies too deep: its path is longer than 4 KiB"),
            std::string::npos);
  // std::filesystem would fall over it.
  ASSERT_EQ(::system(("rm -rf " + from_ + " " + to_).c_str()), 0);
}

TEST_F(TreeCopyTest, RootPutsNothingIntoAFolderOfAnotherUsers) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  fs::create_directory(from_ + "/theirs");
  fs::create_directory(from_ + "/owners");
  fs::create_directory(from_ + "/open");
  for (const char* name : {"theirs", "owners", "open"}) {
    Write(from_ + "/" + name + "/file", "x");
    fs::create_directory(to_ + "/" + name);
  }
  ASSERT_EQ(::chown(to_.c_str(), kSomebody, kSomebody), 0);
  ASSERT_EQ(::chown((to_ + "/owners").c_str(), kSomebody, kSomebody), 0);
  ASSERT_EQ(::chown((to_ + "/theirs").c_str(), kOther, kOther), 0);
  ASSERT_EQ(::chmod((to_ + "/open").c_str(), 0777), 0);
  EXPECT_EQ(Copy().conflicts, 2u);
  EXPECT_NE(told_.find("/theirs: it is there already, and differs: it belongs to "
                       "another user"),
            std::string::npos);
  EXPECT_NE(told_.find("/open: it is there already, and differs: all users may write"),
            std::string::npos);
  EXPECT_TRUE(fs::is_empty(to_ + "/theirs"));
  EXPECT_TRUE(fs::is_empty(to_ + "/open"));
  EXPECT_EQ(Read(to_ + "/owners/file"), "x");
}

// Who may move what is in the destination puts root's own folder in the place of each
// folder that root is just making, to be given it.
TEST_F(TreeCopyTest, WhoSwapsAFolderThatIsBeingMadeIsNotGivenAnother) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  fs::create_directory(from_ + "/made");
  ASSERT_EQ(::chown((from_ + "/made").c_str(), kSomebody, kSomebody), 0);
  fs::create_directory(to_ + "/secret");
  Write(to_ + "/secret/file", "secret");
  ASSERT_EQ(::chmod((to_ + "/secret").c_str(), 0700), 0);
  ASSERT_EQ(::chown(to_.c_str(), kSomebody, kSomebody), 0);
  const pid_t somebody = ::fork();
  if (somebody == 0) {
    DIR* folder = ::opendir(to_.c_str());
    if (::setresgid(kSomebody, kSomebody, kSomebody) != 0 ||
        ::setresuid(kSomebody, kSomebody, kSomebody) != 0 ||
        ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
      ::_exit(1);
    for (;; ::rewinddir(folder))
      while (const dirent* entry = ::readdir(folder))
        if (entry->d_name[0] == '.' && entry->d_name[1] == 'k')
          (void)::renameat2(::dirfd(folder), "secret", ::dirfd(folder), entry->d_name,
                            RENAME_EXCHANGE);
  }
  bool is_given = false;
  for (int i = 0; i < 2000 && !is_given; ++i) {
    (void)Copy();
    // Back to how it was.
    const auto names = SortedEntries(*OpenAt(AT_FDCWD, to_, O_RDONLY | O_DIRECTORY));
    ASSERT_TRUE(names.ok());
    for (const std::string& name : *names) {
      const std::string path = to_ + "/" + name;
      if (!fs::exists(path + "/file")) {
        (void)::rmdir(path.c_str());
        continue;
      }
      const struct stat st = StatusOfPath(path);
      is_given = st.st_uid != 0 || (st.st_mode & 077) != 0;
      EXPECT_FALSE(is_given) << path << " in run " << i;
      // The other may have put it back meanwhile.
      std::error_code swapped;
      if (name != "secret") fs::rename(path, to_ + "/secret", swapped);
    }
  }
  ::kill(somebody, SIGKILL);
  ::waitpid(somebody, nullptr, 0);
}

TEST_F(TreeCopyTest, FoldersThatAreClosedToTheirOwnerCanBeGoneOnWith) {
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(to_.c_str(), kSomebody, kSomebody), 0);
  }
  fs::create_directories(from_ + "/closed/within");
  fs::create_directory(to_ + "/closed");
  Write(from_ + "/closed/file", "x");
  ASSERT_EQ(::chmod((from_ + "/closed/within").c_str(), 0555), 0);
  ASSERT_EQ(::chmod((from_ + "/closed").c_str(), 0555), 0);
  // As a former run finished it, without all that is in it.
  ASSERT_EQ(::chmod((to_ + "/closed").c_str(), 0555), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 &&
        (::chown((to_ + "/closed").c_str(), kSomebody, kSomebody) != 0 ||
         ::setresgid(kSomebody, kSomebody, kSomebody) != 0 ||
         ::setresuid(kSomebody, kSomebody, kSomebody) != 0))
      ::_exit(2);
    CopyPlan plan;
    plan.keeping.owners = false;
    const TreeCopyCounts counts = Copy(plan);
    ::_exit(counts.files == 1 && counts.folders == 2 && counts.failed == 0 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Read(to_ + "/closed/file"), "x");
  EXPECT_EQ(StatusOfPath(to_ + "/closed").st_mode & 07777u, 0555u);
  EXPECT_EQ(StatusOfPath(to_ + "/closed/within").st_mode & 07777u, 0555u);
}

TEST_F(TreeCopyTest, NoLinkIsMadeToAFileThatDiffers) {
  Write(from_ + "/a", "source");
  fs::create_hard_link(from_ + "/a", from_ + "/b");
  Write(to_ + "/a", "theirs");
  fs::last_write_time(to_ + "/a", fs::last_write_time(from_ + "/a"));
  CopyPlan plan;
  plan.compare = true;
  TreeCopyCounts counts = Copy(plan);
  EXPECT_EQ(counts.conflicts, 1u);
  EXPECT_EQ(counts.left_out, 1u);
  EXPECT_EQ(counts.hard_links, 0u);
  EXPECT_NE(told_.find("/b is left out: its other name was not copied: "),
            std::string::npos);
  EXPECT_FALSE(fs::exists(to_ + "/b"));
  plan.overwrite = true;
  counts = Copy(plan);
  EXPECT_EQ(counts.hard_links, 1u);
  EXPECT_EQ(Read(to_ + "/b"), "source");
}

TEST_F(TreeCopyTest, AnotherOwnerOrModeIsToldAndMendedWhereContentsAreTheSame) {
  Write(from_ + "/file", "x");
  (void)Copy();
  ASSERT_EQ(::chmod((from_ + "/file").c_str(), 0640), 0);
  ASSERT_EQ(::chmod((to_ + "/file").c_str(), 0600), 0);
  EXPECT_EQ(Copy().mended, 0u);
  EXPECT_NE(told_.find("/to/file loses mode of what was there"), std::string::npos);
  EXPECT_EQ(StatusOfPath(to_ + "/file").st_mode & 07777u, 0600u);
  CopyPlan plan;
  plan.compare = plan.dry_run = true;
  EXPECT_EQ(Copy(plan).mended, 1u);
  EXPECT_EQ(StatusOfPath(to_ + "/file").st_mode & 07777u, 0600u);
  plan.dry_run = false;
  EXPECT_EQ(Copy(plan).mended, 1u);
  EXPECT_EQ(told_, "");
  EXPECT_EQ(StatusOfPath(to_ + "/file").st_mode & 07777u, 0640u);
  EXPECT_EQ(Copy(plan).mended, 0u);
}

TEST_F(TreeCopyTest, WhatIsMountedInTheDestinationIsLeftOut) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  fs::create_directory(from_ + "/sub");
  Write(from_ + "/sub/file", "x");
  fs::create_directory(to_ + "/sub");
  fs::create_directory(folder_ / "elsewhere");
  // Of the same device, so that only the mount tells.
  ASSERT_EQ(::mount((folder_ / "elsewhere").c_str(), (to_ + "/sub").c_str(), nullptr,
                    MS_BIND, nullptr),
            0);
  EXPECT_EQ(Copy().left_out, 1u);
  EXPECT_NE(told_.find("/to/sub is left out: another filesystem is mounted there"),
            std::string::npos);
  EXPECT_TRUE(fs::is_empty(folder_ / "elsewhere"));
  CopyPlan plan;
  plan.cross = true;
  EXPECT_EQ(Copy(plan).files, 1u);
  EXPECT_EQ(Read(folder_ / "elsewhere/file"), "x");
  EXPECT_EQ(::umount((to_ + "/sub").c_str()), 0);
}

TEST_F(TreeCopyTest, SeveralCopiesOfOneTreeAtOnceAllDoWhatIsLeft) {
  constexpr int kFolders = 200, kCopies = 4;
  for (int i = 0; i < kFolders; ++i) {
    const std::string made = from_ + "/" + std::to_string(i);
    fs::create_directories(made + "/sub");
    Write(made + "/sub/file", "x");
  }
  std::atomic<uint64_t> failed{0}, folders{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kCopies; ++i)
    threads.emplace_back([&] {
      const CopyListener quiet{
          [](const std::string& path, const Status& why) {
            ADD_FAILURE() << path << ": " << why.message();
          },
          [](const std::string&, const std::string&, const Status&) {},
          [](const std::string&, const std::string&) {}};
      TreeCopy copy({}, quiet);
      EXPECT_TRUE(
          copy.Run(from_, *OpenAt(AT_FDCWD, to_, O_RDONLY | O_DIRECTORY), to_).ok());
      failed += copy.Counts().failed + copy.Counts().conflicts;
      folders += copy.Counts().folders;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0u);
  EXPECT_EQ(folders, 2u * kFolders * kCopies);
  EXPECT_EQ(Copy().there, static_cast<uint64_t>(kFolders));
}

TEST_F(TreeCopyTest, ATimeOfWholeSecondsIsNotTakenForAnyOfThatSecond) {
  Write(from_ + "/file", "source");
  Write(to_ + "/file", "theirs");
  const timespec source[] = {{5, 0}, {5, 123'456'789}}, copy[] = {{5, 0}, {5, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (from_ + "/file").c_str(), source, 0), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, (to_ + "/file").c_str(), copy, 0), 0);
  EXPECT_EQ(Copy().conflicts, 1u);
}

TEST(KeptAttributesTest, WithoutItsListAModeGivesNobodyMore) {
  struct Entry {
    uint16_t tag, permissions;
    uint32_t id;
  };
  const auto list = [](std::vector<Entry> entries) {
    Bytes bytes{2, 0, 0, 0};
    for (const Entry& entry : entries) {
      const auto* begin = reinterpret_cast<const uint8_t*>(&entry);
      bytes.insert(bytes.end(), begin, begin + sizeof entry);
    }
    return bytes;
  };
  constexpr uint16_t kUserObj = 1, kUser = 2, kGroupObj = 4, kGroup = 8, kMask = 16,
                     kOthers = 32;
  // The owning group has nothing: the mode's group bits are the mask.
  EXPECT_EQ(WithoutList(0660, list({{kUserObj, 6, 0},
                                    {kUser, 6, 1000},
                                    {kGroupObj, 0, 0},
                                    {kMask, 6, 0},
                                    {kOthers, 0, 0}})),
            0600u);
  // The mask is narrower than the group's entry.
  EXPECT_EQ(
      WithoutList(
          0640,
          list({{kUserObj, 6, 0}, {kGroupObj, 6, 0}, {kMask, 4, 0}, {kOthers, 0, 0}})),
      0640u);
  // Who is kept out by name comes under the others.
  EXPECT_EQ(WithoutList(0644, list({{kUserObj, 6, 0},
                                    {kUser, 0, 1000},
                                    {kGroupObj, 4, 0},
                                    {kMask, 4, 0},
                                    {kOthers, 4, 0}})),
            0600u);
  EXPECT_EQ(WithoutList(02755, list({{kUserObj, 7, 0},
                                     {kGroupObj, 5, 0},
                                     {kGroup, 4, 1000},
                                     {kMask, 5, 0},
                                     {kOthers, 5, 0}})),
            02754u);
  EXPECT_EQ(WithoutList(0666, Bytes{1, 2, 3}), 0600u);
}

}  // namespace
}  // namespace keyfold
