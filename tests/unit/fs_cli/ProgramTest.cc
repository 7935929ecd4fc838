// Does the program say what is wrong, with the documented exit code?
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fs/cli/ExitCode.h"
#include "fs/cli/MountFlags.h"
#include "fs/cli/MountTable.h"
#include "fs/cli/Program.h"
#include "fs/cli/Report.h"
#include "fs/cli/StoreConfig.h"
#include "fs/cli/StoreLock.h"
#include "kms/service/Schema.h"

namespace keyfold {
namespace {

struct Outcome {
  int code;
  std::string out, err;
};
Outcome RunWith(std::vector<std::string> words) {
  words.insert(words.begin(), "keyfold");
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = RunProgram(words);
  std::fflush(stdout);
  return {code, ::testing::internal::GetCapturedStdout(),
          ::testing::internal::GetCapturedStderr()};
}

TEST(ProgramTest, UnknownWordsGetAHint) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"mout"}, "Did you mean \"mount\"?"},
      {{"kms", "creat-key"}, "Did you mean \"create-key\"?"},
      {{"kms", "describe-key", "--key-di", "x"}, "Did you mean --key-id?"},
      {{"kms", "--output", "json", "list-kyes"}, "Did you mean \"list-keys\"?"},
      {{"kms", "delete-key", "--key-id", "x"}, "Unknown command \"delete-key\"."},
      {{"init", "/x", "--rootkey", "x"}, "Did you mean --root-key?"},
      {{}, "--help"},
      {{"kms"}, "keyfold kms --help"},
      {{"kms", "list-keys", "--output", "xml"}, "--output"},
      {{"audit", "--limit", "0"}, "--limit"},
      {{"folder", "set-key", "/x"}, "key"}};
  for (const auto& [words, hint] : cases) {
    const Outcome outcome = RunWith(words);
    EXPECT_EQ(outcome.code, kExitUsage) << hint;
    EXPECT_EQ(outcome.err.find("keyfold: "), 0u) << outcome.err;
    EXPECT_NE(outcome.err.find(hint), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1)
        << outcome.err;
  }
}

TEST(ProgramTest, HelpIsEverywhere) {
  EXPECT_EQ(RunWith({"--help"}).code, kExitOk);
  EXPECT_NE(RunWith({"--version"}).out.find("keyfold "), std::string::npos);
  EXPECT_NE(RunWith({"help", "exit-codes"}).out.find("254"), std::string::npos);
  EXPECT_NE(RunWith({"help", "kms", "create-key"}).out.find("--administrators"),
            std::string::npos);
  EXPECT_EQ(RunWith({"help", "nonsense"}).code, kExitUsage);
  EXPECT_NE(RunWith({"help"}).out.find("Usage: keyfold ["), std::string::npos);
  EXPECT_NE(RunWith({"help", "folder"}).out.find("Usage: keyfold folder "),
            std::string::npos);
  EXPECT_NE(RunWith({"help", "umount"}).out.find("Usage: keyfold unmount "),
            std::string::npos);
  for (const Operation& operation : Operations()) {
    if (operation.service != "kms") continue;
    std::string verb;
    for (char c : operation.name) {
      if (c >= 'A' && c <= 'Z' && !verb.empty()) verb += '-';
      verb += static_cast<char>(std::tolower(c));
    }
    const Outcome outcome = RunWith({"kms", verb, "--help"});
    EXPECT_EQ(outcome.code, kExitOk) << verb;
    const size_t example = outcome.out.find("Example:");
    ASSERT_NE(example, std::string::npos) << verb;
    for (const char* placeholder : {" TEXT", " NUMBER", " TIME", "|"})
      EXPECT_EQ(outcome.out.find(placeholder, example), std::string::npos) << verb;
  }
}

TEST(ProgramTest, StatusesBecomeTheDocumentedCodes) {
  const auto code = [](Error error) { return ExitCodeOf(Status(error, "")); };
  EXPECT_EQ(ExitCodeOf(OkStatus()), 0);
  EXPECT_EQ(code(Error::kSystem), 1);
  EXPECT_EQ(code(Error::kUsage), 2);
  EXPECT_EQ(code(Error::kNotAStore), 3);
  EXPECT_EQ(code(Error::kNewerFormat), 3);
  EXPECT_EQ(code(Error::kWrongCredential), 4);
  EXPECT_EQ(code(Error::kLocked), 5);
  EXPECT_EQ(code(Error::kCorrupt), 6);
  EXPECT_EQ(code(Error::kAccessDenied), 7);
  EXPECT_EQ(code(Error::kNotFound), 254);
}

TEST(ProgramTest, KmsErrorsReadAsFromTheAwsCli) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(FailCall("CreateKey", Status(Error::kAccessDenied, "no\x1b[0m")), 254);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "\nAn error occurred (AccessDeniedException) when calling the CreateKey "
            "operation: no?[0m\n");
}

TEST(MountFlagsTest, FstabsWordsAreAccepted) {
  const auto flags = ParseMountFlags(
      "defaults,ro,noatime,nofail,_netdev,user,x-systemd.automount,root-key=file:/k,"
      "nonempty",
      false);
  ASSERT_TRUE(flags.ok());
  EXPECT_EQ(flags->fuse, (std::vector<std::string>{"ro", "noatime"}));
  EXPECT_EQ(flags->root_key, "file:/k");
  EXPECT_TRUE(flags->nonempty);
  EXPECT_TRUE(ParseMountFlags("ro,rw", false)->fuse.empty());
}

TEST(MountFlagsTest, UnknownWordIsAUsageErrorUnlessSloppy) {
  const auto flags = ParseMountFlags("noatim", false);
  EXPECT_EQ(flags.status().error(), Error::kUsage);
  EXPECT_NE(flags.status().message().find("noatime"), std::string::npos);
  EXPECT_TRUE(ParseMountFlags("noatim", true).ok());
  EXPECT_EQ(ParseMountFlags("fsname=x", false).status().error(), Error::kUsage);
}

TEST(MountTableTest, OnlyKeyfoldsMountsAreListed) {
  const auto mounts = ParseMountInfo(
      "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "40 22 0:50 / /srv/a\\040b rw,nosuid shared:1 - fuse.keyfold /store\\134x "
      "rw,user_id=1000,group_id=0\n"
      "41 22 0:51 / /m rw - fuse.other x rw\nbroken\n");
  ASSERT_EQ(mounts.size(), 1u);
  EXPECT_EQ(mounts[0].mountpoint, "/srv/a b");
  EXPECT_EQ(mounts[0].store, "/store\\x");
  EXPECT_EQ(mounts[0].owner, 1000u);
  EXPECT_TRUE(MountOf(mounts, "/srv/a b/c").has_value());
  EXPECT_FALSE(MountOf(mounts, "/srv/a bc").has_value());
}

class StoreFolderTest : public ::testing::Test {
 protected:
  StoreFolderTest() {
    char folder[] = "/tmp/keyfold-store-XXXXXX";
    folder_ = ::mkdtemp(folder);
  }
  ~StoreFolderTest() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& text) {
    std::ofstream(folder_ + "/keyfold.json") << text;
  }
  std::string folder_;
};

TEST_F(StoreFolderTest, ConfigurationComesBack) {
  StoreConfig config;
  config.format = 1;
  config.account.store_id = "id";
  config.account.root_uid = 7;
  config.root_key = {{"provider", "passphrase"}};
  config.metadata_key = {1, 2, 3};
  ASSERT_TRUE(WriteStoreConfig(folder_, config).ok());
  const auto back = ReadStoreConfig(folder_);
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->format, 1) << "raised by writing it";
  EXPECT_EQ(back->account.store_id, "id");
  EXPECT_EQ(back->account.root_uid, 7u);
  EXPECT_EQ(back->root_key, config.root_key);
  EXPECT_EQ(back->metadata_key, config.metadata_key);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/keyfold.json.new"));
}

TEST_F(StoreFolderTest, WhatIsNoStoreIsToldApart) {
  EXPECT_EQ(ReadStoreConfig(folder_ + "/missing").status().error(), Error::kNotAStore);
  EXPECT_EQ(ReadStoreConfig(folder_).status().error(), Error::kNotAStore);
  Write(R"({"format": 3})");
  EXPECT_EQ(ReadStoreConfig(folder_).status().error(), Error::kNewerFormat);
  for (const std::string& text :
       {std::string("{"), std::string("[]"), std::string(R"({"format": 1})"),
        std::string(R"({"format": "1"})"), std::string(R"({"format": 0})"),
        std::string(70000, ' ')}) {
    Write(text);
    EXPECT_EQ(ReadStoreConfig(folder_).status().error(), Error::kCorrupt);
  }
}

TEST_F(StoreFolderTest, LockIsExclusiveAndNamesItsHolder) {
  auto first = StoreLock::Take(folder_);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(StoreLock::IsHeld(folder_));
  const auto second = StoreLock::Take(folder_);
  EXPECT_EQ(second.status().error(), Error::kLocked);
  EXPECT_NE(second.status().message().find(std::to_string(::getpid())),
            std::string::npos);
}

TEST_F(StoreFolderTest, InitRefusesBadWordsAndLeavesNothing) {
  const std::string store = folder_ + "/store";
  const auto init = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"init", store});
    return RunWith(words).code;
  };
  EXPECT_EQ(init({"--root-key", "tpm2:pcr=7"}), kExitUsage);
  EXPECT_EQ(init({"--root-key", "nonsense"}), kExitUsage);
  EXPECT_EQ(init({"--root-key", "file:" + store + "/key"}), kExitUsage);
  EXPECT_EQ(init({"--root-key", "file:" + folder_ + "/k", "--account", "1"}),
            kExitUsage);
  EXPECT_EQ(init({"--root-key", "file:" + folder_ + "/k", "--region", "A B"}),
            kExitUsage);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  std::filesystem::create_directory(store);
  std::ofstream(store + "/mine") << "x";
  EXPECT_EQ(init({"--root-key", "file:" + folder_ + "/k"}), kExitUsage);
  EXPECT_TRUE(std::filesystem::exists(store + "/mine"));
}

TEST_F(StoreFolderTest, InitMakesAStoreThatOpensOffline) {
  const std::string store = folder_ + "/store", key = "file:" + folder_ + "/k";
  ASSERT_EQ(RunWith({"init", store, "--root-key", key}).code, kExitOk);
  EXPECT_EQ(RunWith({"init", store, "--root-key", key}).code, kExitUsage);
  const Outcome aliases = RunWith({"kms", "list-aliases", "--store", store, "--query",
                                   "Aliases[].AliasName", "--output", "text"});
  EXPECT_EQ(aliases.code, kExitOk) << aliases.err;
  EXPECT_EQ(aliases.out, "alias/aws/fs\n");
  EXPECT_EQ(RunWith({"audit", "verify", "--store", store}).code, kExitOk);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"iam", "--store", store, "whoami"},
        std::vector<std::string>{"iam", "whoami", "--store", store}})
    EXPECT_NE(RunWith(words).out.find("Account"), std::string::npos);
  const Outcome missing =
      RunWith({"kms", "describe-key", "--key-id", "alias/none", "--store", store});
  EXPECT_EQ(missing.code, kExitServiceError);
  EXPECT_NE(missing.err.find("(NotFoundException) when calling the DescribeKey"),
            std::string::npos)
      << missing.err;
  std::ofstream(folder_ + "/other", std::ios::binary) << std::string(32, 'x');
  std::filesystem::permissions(folder_ + "/other", std::filesystem::perms::owner_read);
  EXPECT_EQ(RunWith({"kms", "list-keys", "--store", store, "--root-key",
                     "file:" + folder_ + "/other"})
                .code,
            kExitWrongCredential);
  std::filesystem::remove(store + "/keys.db");
  EXPECT_EQ(RunWith({"kms", "list-keys", "--store", store}).code, kExitDamaged);
}

}  // namespace
}  // namespace keyfold
