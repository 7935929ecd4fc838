// Does the loopback endpoint take nobody's word but the signature's?
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kms/api/Endpoint.h"
#include "kms/api/LoopbackSocket.h"
#include "tests/unit/kms_api/FakeKms.h"

namespace keyfold {
namespace {

using nlohmann::json;

const TimePoint kNow{std::chrono::sys_days{std::chrono::year(2026) / 1 / 31} +
                     std::chrono::hours(12)};
constexpr char kDate[] = "20260131";
constexpr char kTime[] = "20260131T120000Z";

std::string Hex(const Sha256Digest& digest) { return ToHex(digest); }

// Sign signs as AWS's documentation says, written out for these headers alone.
HttpRequest Sign(const std::string& target, const std::string& body,
                 const std::string& key = "AKIDEXAMPLE",
                 const std::string& region = "local-1") {
  HttpRequest request{"POST", "/", {}, body};
  request.headers = {
      {"host", "127.0.0.1"}, {"x-amz-date", kTime}, {"x-amz-target", target}};
  const std::string canonical =
      "POST\n/\n\nhost:127.0.0.1\nx-amz-date:" + std::string(kTime) +
      "\nx-amz-target:" + target + "\n\nhost;x-amz-date;x-amz-target\n" +
      Hex(Sha256(AsBytes(body)));
  const std::string scope = std::string(kDate) + "/" + region + "/kms/aws4_request";
  const std::string to_sign = "AWS4-HMAC-SHA256\n" + std::string(kTime) + "\n" + scope +
                              "\n" + Hex(Sha256(AsBytes(canonical)));
  Bytes text(FakeKms::kSecret.begin(), FakeKms::kSecret.end());
  SecretBytes signing = Prefixed("AWS4", SecretFrom(text));
  for (const std::string& part :
       {std::string(kDate), region, std::string("kms"), std::string("aws4_request")})
    signing = HmacSha256Key(signing, AsBytes(part));
  request.headers.insert(
      request.headers.begin(),
      {"authorization", "AWS4-HMAC-SHA256 Credential=" + key + "/" + scope +
                            ", SignedHeaders=host;x-amz-date;x-amz-target, Signature=" +
                            Hex(HmacSha256(signing, AsBytes(to_sign)))});
  return request;
}

class EndpointTest : public ::testing::Test {
 protected:
  // The error's name, or "ok".
  std::string Outcome(const HttpRequest& request) {
    const Reply reply = endpoint_.ServeSigned(peer_, request);
    answer_ = json::parse(reply.body);
    return reply.http_status == 200 ? "ok" : answer_.value("__type", "none");
  }
  static Caller PeerOf() {
    Caller peer;
    peer.uid = 1000;
    peer.source = "127.0.0.1";
    return peer;
  }
  const Caller peer_ = PeerOf();
  FakeKms kms_;
  FakeClock clock_{kNow};
  Endpoint endpoint_{kms_, clock_, [] { return json{{"mountpoint", "/m"}}; }};
  json answer_;
};

TEST_F(EndpointTest, WhoSignedIsTheCaller) {
  EXPECT_EQ(Outcome(Sign("TrentService.ListKeys", R"({"Limit":3})")), "ok");
  EXPECT_EQ(answer_["uid"], 4711);
  EXPECT_EQ(answer_["source"], "127.0.0.1");
  EXPECT_EQ(answer_["request"], json({{"Limit", 3}}));
  EXPECT_EQ(kms_.refusals, 0);
}

TEST_F(EndpointTest, WhatIsNotSignedIsRefusedAndTold) {
  HttpRequest request = Sign("TrentService.ListKeys", "{}");
  request.headers.erase(request.headers.begin());
  EXPECT_EQ(Outcome(request), "MissingAuthenticationTokenException");
  request = Sign("TrentService.ListKeys", "{}");
  request.body = R"({"Limit":1})";
  EXPECT_EQ(Outcome(request), "InvalidSignatureException");
  EXPECT_EQ(Outcome(Sign("TrentService.ListKeys", "{}", "AKIDOTHER")),
            "UnrecognizedClientException");
  EXPECT_EQ(Outcome(Sign("TrentService.ListKeys", "{}", "AKIDEXAMPLE", "us-east-1")),
            "InvalidSignatureException");
  request = Sign("TrentService.ListKeys", "{}");
  request.headers.push_back({"x-amz-security-token", "abc"});
  EXPECT_EQ(Outcome(request), "InvalidSignatureException");  // not signed
  clock_.Advance(std::chrono::minutes(6));
  EXPECT_EQ(Outcome(Sign("TrentService.ListKeys", "{}")), "InvalidSignatureException");
  EXPECT_EQ(kms_.refusals, 6);
}

TEST_F(EndpointTest, ARequestIsTakenOnce) {
  const HttpRequest request = Sign("TrentService.ListKeys", "{}");
  EXPECT_EQ(Outcome(request), "ok");
  clock_.Advance(std::chrono::seconds(3));
  EXPECT_EQ(Outcome(request), "InvalidSignatureException");
}

TEST_F(EndpointTest, OnlyTheKmsIsThere) {
  for (const char* target :
       {"KeyfoldIam.WhoAmI", "KeyfoldStore.GetStatus", "TrentService.Nonsense", ""})
    EXPECT_EQ(Outcome(Sign(target, "{}")), "UnknownOperationException") << target;
  EXPECT_EQ(Outcome(Sign("TrentService.ListKeys", "[]")), "SerializationException");
}

TEST(LoopbackSocketTest, OnlyThisMachinesAddressesAreTaken) {
  for (const char* address :
       {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "0.0.0.0:0",
        "192.0.2.1:0", "[::]:0", "::1:0", "example.com:0", "127.0.0.1:80x"})
    EXPECT_EQ(LoopbackSocket::Listen(address).status().error(), Error::kUsage)
        << address;
  for (const char* address : {"127.0.0.1:0", "localhost:0", "127.1.2.3:0"})
    EXPECT_TRUE(LoopbackSocket::Listen(address).ok()) << address;
}

TEST(LoopbackSocketTest, TheKernelTellsWhoseTheOtherEndIs) {
  const auto listening = LoopbackSocket::Listen("127.0.0.1:0");
  ASSERT_TRUE(listening.ok());
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(
      ::getsockname(listening->fd(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_EQ(listening->address(),
            "127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address),
            0);
  const int accepted = ::accept4(listening->fd(), nullptr, nullptr, SOCK_CLOEXEC);
  ASSERT_GE(accepted, 0);
  EXPECT_EQ(PeerAddress(accepted), "127.0.0.1");
  EXPECT_EQ(PeerUid(accepted), ::getuid());
  ::close(accepted);
  ::close(client);
}

}  // namespace
}  // namespace keyfold
