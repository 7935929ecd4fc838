// Does the process outside of the confinement do its two duties, and no others?
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "fs/backend/Capabilities.h"
#include "fs/cli/Outside.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

policy::AlertAction Shell(const std::string& script) {
  policy::AlertAction action;
  action.kind = policy::AlertAction::Kind::kCommand;
  action.command = {"/bin/sh", "-c", script};
  action.user = ::getpwuid(::geteuid())->pw_name;
  action.timeout = std::chrono::seconds(20);
  return action;
}

class OutsideTest : public testing::Test {
 protected:
  static std::unique_ptr<Outside> Started(Result<std::unique_ptr<Outside>> outside) {
    return outside.ok() ? std::move(*outside) : nullptr;
  }

  TempFolder folder_{"/tmp"};
  std::atomic<bool> ending_{false};
};

TEST_F(OutsideTest, ACommandGetsTheRecordAndItsFailureComesBack) {
  const auto outside = Started(Outside::ForCommands());
  ASSERT_NE(outside, nullptr);
  const std::string record = R"({"eventName":"Dëcrypt"})";
  EXPECT_TRUE(
      outside
          ->RunCommand(Shell("cat >" + folder_.path() + "/got; echo $KEYFOLD_ALERT >" +
                             folder_.path() + "/name"),
                       "Some", record, ending_)
          .ok());
  std::string got, name;
  std::getline(std::ifstream(folder_ / "got"), got);
  std::getline(std::ifstream(folder_ / "name"), name);
  EXPECT_EQ(got, record);
  EXPECT_EQ(name, "Some");
  const Status failed = outside->RunCommand(Shell("exit 3"), "Some", "{}", ending_);
  EXPECT_EQ(failed.error(), Error::kSystem);
  EXPECT_NE(failed.message().find("exit code 3"), std::string::npos)
      << failed.message();
}

TEST_F(OutsideTest, CommandsDoNotWaitForEachOther) {
  const auto outside = Started(Outside::ForCommands());
  ASSERT_NE(outside, nullptr);
  const auto begin = steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      EXPECT_TRUE(outside->RunCommand(Shell("sleep 2"), "Some", "{}", ending_).ok());
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(6));
}

TEST_F(OutsideTest, ACommandIsCutOffAtTheEnd) {
  const auto outside = Started(Outside::ForCommands());
  ASSERT_NE(outside, nullptr);
  std::thread end([this] {
    std::this_thread::sleep_for(milliseconds(300));
    ending_ = true;
  });
  const auto begin = steady_clock::now();
  EXPECT_FALSE(outside->RunCommand(Shell("sleep 20"), "Some", "{}", ending_).ok());
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(10));
  end.join();
}

// Capabilities are each thread's, and of the processes that it makes.
TEST_F(OutsideTest, ACommandOfAnotherUserEndsInTimeWithoutTheRightToEndAnybodys) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to be another user";
  std::filesystem::permissions(folder_.path(), std::filesystem::perms::all);
  const std::string pids = folder_ / "pids";
  policy::AlertAction action = Shell("sleep 60 & echo $$ $! >" + pids + "; wait");
  action.user = "nobody";
  action.timeout = std::chrono::seconds(1);
  const auto begin = steady_clock::now();
  std::thread([&] {
    Capabilities few = Capabilities::OfThread();
    few.GiveUp(CAP_KILL);
    ASSERT_TRUE(few.Take());
    const auto outside = Started(Outside::ForCommands());
    ASSERT_NE(outside, nullptr);
    EXPECT_FALSE(outside->RunCommand(action, "Some", "{}", ending_).ok());
  }).join();
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(20));
  std::ifstream file(pids);
  for (int i = 0; i < 2; ++i) {
    pid_t pid = 0;
    ASSERT_TRUE(file >> pid);
    for (int wait = 0; wait < 100 && ::kill(pid, 0) == 0; ++wait)
      std::this_thread::sleep_for(milliseconds(20));
    EXPECT_NE(::kill(pid, 0), 0) << pid;
  }
}

TEST_F(OutsideTest, ItRunsNothingIfItWasStartedSo) {
  const auto outside = Started(Outside::ForMount({folder_.path(), "store", {}}, ""));
  ASSERT_NE(outside, nullptr);
  const Status refused =
      outside->RunCommand(Shell("touch " + (folder_ / "ran")), "Some", "{}", ending_);
  EXPECT_EQ(refused.error(), Error::kAccessDenied);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "ran"));
}

TEST_F(OutsideTest, UnmountingWhatIsNoMountFails) {
  const auto outside = Started(Outside::ForMount({folder_.path(), "store", {}}, ""));
  ASSERT_NE(outside, nullptr);
  EXPECT_EQ(outside->Unmount(false).error(), Error::kSystem);
  const auto commands = Started(Outside::ForCommands());
  ASSERT_NE(commands, nullptr);
  EXPECT_EQ(commands->Unmount(false).error(), Error::kAccessDenied);
}

TEST_F(OutsideTest, ItMountsInAnotherNamespaceAlone) {
  const auto outside = Started(Outside::ForMount({folder_.path(), "store", {}}, ""));
  ASSERT_NE(outside, nullptr);
  EXPECT_EQ(outside->Mount().status().error(), Error::kAccessDenied);
  const auto commands = Started(Outside::ForCommands());
  ASSERT_NE(commands, nullptr);
  EXPECT_EQ(commands->Mount().status().error(), Error::kAccessDenied);
}

TEST_F(OutsideTest, AFileThatIsNoNamespaceIsNamedAtEachRequest) {
  const auto outside =
      Started(Outside::ForMount({folder_.path(), "store", {}}, "/dev/null"));
  ASSERT_NE(outside, nullptr);
  const Error expected = ::geteuid() == 0 ? Error::kUsage : Error::kAccessDenied;
  EXPECT_EQ(outside->Mount().status().error(), expected);
  EXPECT_EQ(outside->Unmount(true).error(), expected);
}

}  // namespace
}  // namespace keyfold
