// Are AWS's own examples accepted, and nothing but them?
#include <gtest/gtest.h>

#include "kms/api/ReplayGuard.h"
#include "kms/api/SignatureV4.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// 2015-08-30T12:36:00Z, when AWS's examples were signed.
const TimePoint kSigned{std::chrono::sys_days{std::chrono::year(2015) / 8 / 30} +
                        std::chrono::hours(12) + minutes(36)};

SecretBytes ExampleSecret() {
  constexpr std::string_view kText = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
  Bytes text(kText.begin(), kText.end());
  return SecretFrom(text);
}

// "post-vanilla" of AWS's Signature Version 4 test suite.
HttpRequest PostVanilla() {
  return {"POST",
          "/",
          {{"authorization",
            "AWS4-HMAC-SHA256 "
            "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            "SignedHeaders=host;x-amz-date, "
            "Signature="
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
           {"host", "example.amazonaws.com"},
           {"x-amz-date", "20150830T123600Z"}},
          ""};
}

std::string& Header(HttpRequest& request, const std::string& name) {
  for (auto& [known, value] : request.headers)
    if (known == name) return value;
  return request.headers.emplace_back(name, "").second;
}

void Replace(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
}

Status Check(const HttpRequest& request) {
  const auto authorization = ParseAuthorization(request);
  if (!authorization.ok()) return authorization.status();
  return CheckSignature(*authorization, request, ExampleSecret());
}

TEST(SignatureV4Test, ExamplesOfAwsAreAccepted) {
  EXPECT_TRUE(Check(PostVanilla()).ok()) << Check(PostVanilla()).message();
  HttpRequest get = PostVanilla();  // "get-vanilla"
  get.method = "GET";
  Replace(Header(get, "authorization"),
          "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
          "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  EXPECT_TRUE(Check(get).ok());
}

TEST(SignatureV4Test, WhatIsReadIsWhatTheHeaderSays) {
  const auto authorization = ParseAuthorization(PostVanilla());
  ASSERT_TRUE(authorization.ok());
  EXPECT_EQ(authorization->access_key_id, "AKIDEXAMPLE");
  EXPECT_EQ(authorization->region, "us-east-1");
  EXPECT_EQ(authorization->service, "service");
  EXPECT_EQ(authorization->time, kSigned);
  EXPECT_EQ(authorization->session_token, "");
}

TEST(SignatureV4Test, EveryPartIsUnderTheSignature) {
  HttpRequest changed = PostVanilla();
  changed.method = "GET";
  EXPECT_EQ(Check(changed).error(), Error::kInvalidSignature);
  changed = PostVanilla();
  changed.target = "/x";
  EXPECT_EQ(Check(changed).error(), Error::kInvalidSignature);
  changed = PostVanilla();
  changed.body = "{}";
  EXPECT_EQ(Check(changed).error(), Error::kInvalidSignature);
  changed = PostVanilla();
  Header(changed, "host") = "example.com";
  EXPECT_EQ(Check(changed).error(), Error::kInvalidSignature);
  changed = PostVanilla();
  Header(changed, "x-amz-date") = "20150830T123601Z";
  EXPECT_EQ(Check(changed).error(), Error::kInvalidSignature);
  changed = PostVanilla();
  Replace(Header(changed, "authorization"), "us-east-1", "us-east-2");
  EXPECT_EQ(Check(changed).error(), Error::kInvalidSignature);
  changed = PostVanilla();
  changed.headers.push_back({"host", "example.amazonaws.com"});
  EXPECT_EQ(Check(changed).error(), Error::kInvalidSignature);
}

TEST(SignatureV4Test, WhatDirectsTheCallMustBeSigned) {
  HttpRequest unsigned_target = PostVanilla();
  Header(unsigned_target, "x-amz-target") = "TrentService.Decrypt";
  const Status status = Check(unsigned_target);
  EXPECT_EQ(status.error(), Error::kInvalidSignature);
  EXPECT_NE(status.message().find("'x-amz-target' must be a 'SignedHeader'"),
            std::string::npos);
  HttpRequest without_host = PostVanilla();
  Replace(Header(without_host, "authorization"), "host;", "");
  EXPECT_EQ(Check(without_host).error(), Error::kInvalidSignature);
}

TEST(SignatureV4Test, PartsThatLackAreNamed) {
  HttpRequest request = PostVanilla();
  std::erase_if(request.headers,
                [](const auto& header) { return header.first == "authorization"; });
  EXPECT_EQ(Check(request).error(), Error::kMissingAuthentication);
  for (const char* part : {"Credential=", "SignedHeaders=", "Signature="}) {
    request = PostVanilla();
    Replace(Header(request, "authorization"), part, "Other=");
    EXPECT_EQ(Check(request).error(), Error::kIncompleteSignature) << part;
  }
  for (const char* header :
       {"", "Basic eDp5", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=/1/2/3/aws4_request, SignedHeaders=host, "
        "Signature=0"}) {
    request = PostVanilla();
    Header(request, "authorization") = header;
    EXPECT_EQ(Check(request).error(), Error::kIncompleteSignature) << header;
  }
  for (const char* date :
       {"", "2015-08-30T12:36:00Z", "20150830", "20151330T123600Z"}) {
    request = PostVanilla();
    Header(request, "x-amz-date") = date;
    EXPECT_EQ(Check(request).error(), Error::kIncompleteSignature) << date;
  }
}

TEST(SignatureV4Test, ScopeAndClockAreChecked) {
  const auto authorization = ParseAuthorization(PostVanilla());
  ASSERT_TRUE(authorization.ok());
  const auto check = [&](std::string_view region, std::string_view service,
                         TimePoint now) {
    return CheckScope(*authorization, region, service, now);
  };
  EXPECT_TRUE(check("us-east-1", "service", kSigned).ok());
  EXPECT_TRUE(check("us-east-1", "service", kSigned + minutes(5)).ok());
  EXPECT_TRUE(check("us-east-1", "service", kSigned - seconds(10)).ok());
  EXPECT_EQ(check("local-1", "service", kSigned).error(), Error::kInvalidSignature);
  EXPECT_EQ(check("us-east-1", "kms", kSigned).error(), Error::kInvalidSignature);
  EXPECT_EQ(check("us-east-1", "service", kSigned + minutes(5) + seconds(1)).message(),
            "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z "
            "(20150830T124101Z - 5 min.)");
  EXPECT_EQ(check("us-east-1", "service", kSigned - seconds(11)).message(),
            "Signature not yet current: 20150830T123600Z is still later than "
            "20150830T123559Z (20150830T123549Z + 10 s)");
}

class ReplayGuardTest : public ::testing::Test {
 protected:
  Status Admit(uint64_t number, TimePoint time, TimePoint now,
               const std::string& who = "cfo", bool has_own_id = false) {
    Authorization authorization;
    authorization.has_own_id = has_own_id;
    authorization.time = time;
    authorization.signature = ToHex(Sha256(AsBytes(std::to_string(number))));
    return guard_.Admit(who, authorization, now);
  }
  ReplayGuard guard_{kSigned};
};

TEST_F(ReplayGuardTest, ASignatureComesAgainOnlyInTheSameSecond) {
  EXPECT_TRUE(Admit(1, kSigned, kSigned).ok());
  EXPECT_TRUE(Admit(1, kSigned, kSigned + seconds(2)).ok());
  EXPECT_EQ(Admit(1, kSigned, kSigned + seconds(3)).error(), Error::kInvalidSignature);
  EXPECT_EQ(Admit(1, kSigned, kSigned + minutes(5)).error(), Error::kInvalidSignature);
  EXPECT_TRUE(Admit(2, kSigned, kSigned + seconds(3)).ok());
}

TEST_F(ReplayGuardTest, ARequestWithAnIdOfItsOwnComesOnce) {
  EXPECT_TRUE(Admit(1, kSigned, kSigned, "cfo", true).ok());
  EXPECT_EQ(Admit(1, kSigned, kSigned, "cfo", true).error(), Error::kInvalidSignature);
}

TEST_F(ReplayGuardTest, WhatWasSignedBeforeItIsRefused) {
  EXPECT_EQ(Admit(1, kSigned - seconds(1), kSigned).error(), Error::kInvalidSignature);
}

TEST_F(ReplayGuardTest, AClockThatIsSetBackBringsNothingBack) {
  EXPECT_TRUE(Admit(1, kSigned, kSigned).ok());
  EXPECT_TRUE(Admit(2, kSigned + minutes(10), kSigned + minutes(10)).ok());
  EXPECT_EQ(Admit(1, kSigned, kSigned + minutes(1)).error(), Error::kInvalidSignature);
}

TEST_F(ReplayGuardTest, WhoSignsMoreThanIsRememberedLosesTheOldest) {
  for (uint64_t i = 0; i <= ReplayGuard::kMostRemembered; ++i)
    ASSERT_TRUE(Admit(i, kSigned + seconds(i / 1000), kSigned).ok());
  // The first second is forgotten, so nothing of it is taken any more.
  EXPECT_EQ(Admit(0, kSigned, kSigned + seconds(3)).error(), Error::kInvalidSignature);
  EXPECT_EQ(Admit(1 << 20, kSigned, kSigned).error(), Error::kInvalidSignature);
  EXPECT_TRUE(Admit(1 << 20, kSigned + seconds(1), kSigned).ok());
  EXPECT_TRUE(Admit(0, kSigned, kSigned, "accounts").ok());
}

}  // namespace
}  // namespace keyfold
