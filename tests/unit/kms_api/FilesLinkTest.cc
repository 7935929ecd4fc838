// Does the process with the keys learn what is open, whatever the other one answers?
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>

#include "kms/api/FilesLink.h"

namespace keyfold {
namespace {

class FilesLinkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto link = DataKeyLink::Make(1);
    ASSERT_TRUE(link.ok());
    files_ = std::move(link->files);
    view_ = std::make_unique<RemoteFileView>(&link->kms);
  }
  void Serve(FileViewServer::List list) {
    server_ =
        std::make_unique<FileViewServer>(std::move(files_.files), std::move(list));
  }
  // What the other process sends, whatever that is.
  void SendRaw(const Bytes& packet) {
    ASSERT_EQ(::send(files_.files.get(), packet.data(), packet.size(), 0),
              static_cast<ssize_t>(packet.size()));
  }

  DataKeyEnd files_;
  std::unique_ptr<RemoteFileView> view_;
  std::unique_ptr<FileViewServer> server_;
};

OpenHandles Few(std::optional<uid_t> only) {
  OpenHandles open;
  for (uid_t uid : {1000u, 1001u})
    if (!only || *only == uid) open.Add({uid, 4711, "key", KeyUse::kWrite, "/a"});
  return open;
}

TEST_F(FilesLinkTest, WhatIsOpenIsToldAsItWasListed) {
  Serve(Few);
  const auto all = view_->Open(std::nullopt);
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->shown.size(), 2u);
  EXPECT_EQ(all->shown[1].uid, 1001u);
  EXPECT_EQ(all->shown[1].pid, 4711);
  EXPECT_EQ(all->shown[1].use, KeyUse::kWrite);
  EXPECT_EQ(all->shown[1].path, "/a");
  const auto one = view_->Open(1000);
  ASSERT_TRUE(one.ok());
  ASSERT_EQ(one->shown.size(), 1u);
  EXPECT_EQ(one->shown[0].uid, 1000u);
}

TEST_F(FilesLinkTest, WhatDoesNotFitIsCounted) {
  Serve([](std::optional<uid_t>) {
    OpenHandles open;
    for (int i = 0; i < 100'000; ++i)
      open.Add({1000, 1, "key", KeyUse::kRead, std::string(100, 'p')});
    return open;
  });
  const auto all = view_->Open(std::nullopt);
  ASSERT_TRUE(all.ok()) << all.status().ToString();
  EXPECT_GT(all->shown.size(), 1000u);
  EXPECT_EQ(all->shown.size() + all->left_out, 100'000u);
}

TEST_F(FilesLinkTest, WhoDoesNotAnswerIsNotWaitedForLong) {
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(view_->Open(std::nullopt).status().error(), Error::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
}

TEST_F(FilesLinkTest, AnAnswerToAnotherQuestionIsPassedOver) {
  OpenHandles late;
  late.Add({1, 1, "key", KeyUse::kRead, "/late"});
  SendRaw(Encode(FilesAnswer{77, late}));
  Serve(Few);
  const auto answer = view_->Open(1000);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->shown[0].path, "/a");
}

TEST_F(FilesLinkTest, WhatIsNoAnswerIsNone) {
  SendRaw({1, 2, 3});
  EXPECT_EQ(view_->Open(std::nullopt).status().error(), Error::kUnavailable);
  Serve(Few);
  server_.reset();
  EXPECT_EQ(view_->Open(std::nullopt).status().error(), Error::kUnavailable);
}

TEST_F(FilesLinkTest, CountsAreSeenWithoutAsking) {
  Up(files_.file_counts->read_bytes, 5);
  EXPECT_EQ(view_->counts().read_bytes, 5u);
}

}  // namespace
}  // namespace keyfold
