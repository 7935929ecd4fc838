// When the audit log cannot be written or synced, is every use of a key and every
// change refused, with the reason, and is each record there once that says what was
// done?
#include "WritingCalls.h"
#include "tests/unit/FailingCalls.h"

namespace keyfold {
namespace {

using Fault = FailingCalls::Fault;

constexpr Fault kFull{1, ENOSPC, "write", false, true};
constexpr Fault kShort{1, ENOSPC, "write", true, true};
constexpr Fault kDead{1, EIO, "write", false, true};
constexpr Fault kNoSync{1, EIO, "fdatasync"};

class LogFaultFixture : public WritingFixture {
 protected:
  Result<json> CallWith(const Fault& fault, const WritingCall& call,
                        const json& request) {
    FailingCalls::Arm(fault);
    auto answer = Call(call.uid, call.operation, request, call.service);
    EXPECT_GT(FailingCalls::Disarm(), 0u);
    return answer;
  }
  // How many records say that the operation was done.
  size_t DoneOnRecord(const char* operation) {
    size_t done = 0;
    const json found = Must(kRootUid, "audit", "LookupEvents", {{"MaxResults", 10000}});
    for (const json& record : found["Events"])
      done += record["eventName"] == operation && !record.contains("errorCode");
    return done;
  }
  void ExpectRefusal(const Status& status, const Fault& fault) {
    EXPECT_EQ(status.sys_errno(), fault.error);
    const std::string why = fault.error == ENOSPC ? "make room on the store's disk"
                                                  : "see the daemon's log";
    EXPECT_NE(status.message().find("the audit log cannot be written (" + why + ")"),
              std::string::npos)
        << status.message();
  }
};

class LogFaultTest : public LogFaultFixture,
                     public testing::WithParamInterface<WritingCall> {};

TEST_P(LogFaultTest, WhatCannotBeRecordedIsNotDone) {
  const WritingCall& call = GetParam();
  for (const Fault& fault : {kFull, kShort, kDead}) {
    const json request = call.request(*this);
    const json before = View();
    const size_t done = DoneOnRecord(call.operation);
    ExpectRefusal(CallWith(fault, call, request).status(), fault);
    EXPECT_EQ(View(), before);
    EXPECT_EQ(DoneOnRecord(call.operation), done);
    // Where there is room again, it can be done.
    EXPECT_EQ(Try(call.uid, call.operation, request, call.service), "ok");
    EXPECT_EQ(DoneOnRecord(call.operation), done + 1);
    ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
  }
}

// What a failed sync left on the disk is not known, so nothing is added to it before
// the next start has looked.
TEST_P(LogFaultTest, WhatCannotBeSyncedIsNotDone) {
  const WritingCall& call = GetParam();
  if (!call.commits) return;
  const json request = call.request(*this);
  const json before = View();
  for (const Status& status : {CallWith(kNoSync, call, request).status(),
                               Call(kCfo, "ListKeys", json::object()).status()}) {
    EXPECT_EQ(status.error(), Error::kCorrupt);
    EXPECT_NE(status.message().find("An earlier sync of the audit log failed"),
              std::string::npos)
        << status.message();
  }
  ASSERT_TRUE(ReopenFaulty().ok());
  EXPECT_EQ(View(), before);
  ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
  EXPECT_EQ(Try(call.uid, call.operation, request, call.service), "ok");
}

INSTANTIATE_TEST_SUITE_P(Calls, LogFaultTest, testing::ValuesIn(WritingCalls()),
                         NameOf);

class KeyUseLogFaultTest : public LogFaultFixture {};

TEST_F(KeyUseLogFaultTest, NoKeyIsUsed) {
  const std::string key = MakeKey(), hmac = MakeKey("AWS_KMS", "HMAC_256");
  const json blob = Encrypted(key);
  const json of_key = {{"KeyId", key}};
  const auto with = [](json request, const json& more) {
    request.update(more);
    return request;
  };
  const json message = {
      {"KeyId", hmac}, {"Message", "aGk="}, {"MacAlgorithm", "HMAC_SHA_256"}};
  const json mac = Must(kCfo, "GenerateMac", message)["Mac"];
  const std::pair<const char*, json> uses[] = {
      {"Encrypt", with(of_key, {{"Plaintext", "aGk="}})},
      {"Decrypt", {{"CiphertextBlob", blob}}},
      {"ReEncrypt", {{"CiphertextBlob", blob}, {"DestinationKeyId", key}}},
      {"GenerateDataKey", with(of_key, {{"KeySpec", "AES_256"}})},
      {"GenerateDataKeyWithoutPlaintext", with(of_key, {{"KeySpec", "AES_256"}})},
      {"GenerateDataKeyPair", with(of_key, {{"KeyPairSpec", "ECC_NIST_P256"}})},
      {"GenerateDataKeyPairWithoutPlaintext",
       with(of_key, {{"KeyPairSpec", "ECC_NIST_P256"}})},
      {"GenerateMac", message},
      {"VerifyMac", with(message, {{"Mac", mac}})}};
  for (const auto& [operation, request] : uses) {
    SCOPED_TRACE(operation);
    const WritingCall use{"kms", operation, kCfo, nullptr};
    const size_t done = DoneOnRecord(operation);
    for (const Fault& fault : {kFull, kShort, kDead})
      ExpectRefusal(CallWith(fault, use, request).status(), fault);
    EXPECT_EQ(DoneOnRecord(operation), done);
    EXPECT_EQ(Try(kCfo, operation, request), "ok");
    EXPECT_EQ(DoneOnRecord(operation), done + 1);
  }
  ASSERT_NO_FATAL_FAILURE(ExpectAgreement());
}

// Files give the disk's own error.
TEST_F(KeyUseLogFaultTest, NoFileIsOpened) {
  const std::string key = MakeKey();
  for (const Fault& fault : {kFull, kShort, kDead}) {
    FailingCalls::Arm(fault);
    const Status opened =
        kms_->Authorize(By(kCfo), key, {}, {"OpenFile", "/file", KeyUse::kRead});
    FailingCalls::Disarm();
    EXPECT_EQ(opened.sys_errno(), fault.error);
  }
  EXPECT_EQ(DoneOnRecord("OpenFile"), 0u);
  EXPECT_TRUE(
      kms_->Authorize(By(kCfo), key, {}, {"OpenFile", "/file", KeyUse::kRead}).ok());
  EXPECT_EQ(DoneOnRecord("OpenFile"), 1u);
}

}  // namespace
}  // namespace keyfold
