// When the disk fails at the commit of a call, is the call wholly done or not at all,
// and does the service know which, whatever the key store said?
#include "WritingCalls.h"
#include "kms/service/Dispatch.h"
#include "kms/service/Schema.h"

namespace keyfold {
namespace {

using When = CommitFault::When;

class CommitFaultTest : public WritingFixture,
                        public testing::WithParamInterface<WritingCall> {};

TEST_P(CommitFaultTest, IsWhollyDoneOrNotAtAll) {
  const WritingCall& call = GetParam();
  for (const When when : {When::kBefore, When::kAfter}) {
    SCOPED_TRACE(when == When::kBefore ? "before" : "after");
    const json request = call.request(*this);
    const json before = View();
    fault_ = {when, 1};
    const auto answer = Call(call.uid, call.operation, request, call.service);
    const bool failed = fault_.times == 0;
    fault_ = {};
    EXPECT_EQ(failed, call.commits);
    if (!call.commits) continue;
    EXPECT_EQ(answer.status().sys_errno(), when == When::kBefore ? EIO : 0)
        << answer.status().ToString();
    if (when == When::kBefore || !call.shows)
      EXPECT_EQ(View(), before);
    else
      EXPECT_NE(View(), before);
    ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
    // What was not done can be done.
    if (when == When::kBefore) {
      EXPECT_EQ(Try(call.uid, call.operation, request, call.service), "ok");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Calls, CommitFaultTest, testing::ValuesIn(WritingCalls()),
                         NameOf);

TEST(WritingCalls, AreAll) {
  std::set<std::string> all, listed;
  for (const Operation& operation : Operations()) {
    const DispatchEntry* entry = FindDispatch(operation.service, operation.name);
    if (entry != nullptr && entry->writes) all.emplace(operation.name);
  }
  for (const WritingCall& call : WritingCalls()) listed.insert(call.operation);
  EXPECT_EQ(listed, all);
}

class OwnCommitFaultTest : public WritingFixture {};

TEST_F(OwnCommitFaultTest, ANoteIsKeptOrNot) {
  ASSERT_TRUE(kms_->KeepNote("note", Bytes{1}).ok());
  fault_ = {When::kBefore, 1};
  EXPECT_EQ(kms_->KeepNote("note", Bytes{2}).sys_errno(), EIO);
  EXPECT_EQ(kms_->ReadNote("note").value(), Bytes{1});
  fault_ = {When::kAfter, 1};
  EXPECT_TRUE(kms_->KeepNote("note", Bytes{3}).ok());
  ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
  EXPECT_EQ(kms_->ReadNote("note").value(), Bytes{3});
}

TEST_F(OwnCommitFaultTest, WhatTimeBringsIsDoneOrStaysDue) {
  for (const When when : {When::kBefore, When::kAfter}) {
    const std::string key = OfKey(json::object(), "ScheduleKeyDeletion")["KeyId"];
    clock_.Advance(days(31));
    fault_ = {when, 1};
    EXPECT_EQ(kms_->Tick().ok(), when == When::kAfter);
    EXPECT_EQ(fault_.times, 0);
    EXPECT_TRUE(kms_->Tick().ok());
    ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
    EXPECT_EQ(Try(kCfo, "DescribeKey", {{"KeyId", key}}), "NotFoundException");
  }
}

// A disk that fails again leaves open what is there: nothing more is changed until that
// is known.
TEST_F(OwnCommitFaultTest, InDoubtNothingIsChanged) {
  const std::string key = MakeKey();
  const json before = View();
  fault_ = {When::kAfter, 2};
  EXPECT_EQ(Call(kCfo, "DisableKey", {{"KeyId", key}}).status().sys_errno(), EIO);
  EXPECT_EQ(View(), before);
  EXPECT_EQ(Call(kCfo, "CreateKey", json::object()).status().error(), Error::kCorrupt);
  ASSERT_TRUE(ReopenFaulty().ok());
  EXPECT_EQ(State(key), "Disabled");
  EXPECT_EQ(Try(kCfo, "EnableKey", {{"KeyId", key}}), "ok");
  ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
}

TEST_F(OwnCommitFaultTest, DoubtEndsWhenTheStoreCanBeRead) {
  const std::string key = MakeKey();
  fault_ = {When::kBefore, 1, true};
  EXPECT_EQ(Call(kCfo, "DisableKey", {{"KeyId", key}}).status().sys_errno(), EIO);
  EXPECT_EQ(Call(kCfo, "DisableKey", {{"KeyId", key}}).status().sys_errno(), EIO);
  EXPECT_EQ(State(key), "Enabled");
  fault_ = {};
  EXPECT_EQ(Try(kCfo, "DisableKey", {{"KeyId", key}}), "ok");
  ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
}

}  // namespace
}  // namespace keyfold
