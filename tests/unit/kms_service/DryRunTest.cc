// Does a dry run tell whether the call would be allowed, change nothing, give nothing,
// and stand on record?
#include "KmsFixture.h"
#include "kms/service/Schema.h"

namespace keyfold {
namespace {

constexpr char kDryRun[] = "DryRunOperationException";

class DryRunTest : public KmsTest {
 protected:
  void SetUp() override {
    KmsTest::SetUp();
    key_ = MakeKey();
    macs_ = MakeKey("AWS_KMS", "HMAC_256");
    grant_ = Must(kCfo, "CreateGrant",
                  {{"KeyId", key_},
                   {"GranteePrincipal", "user:uid:60002"},
                   {"RetiringPrincipal", "user:uid:60001"},
                   {"Operations", {"DescribeKey"}}});
    blob_ = Must(kCfo, "Encrypt",
                 {{"KeyId", key_}, {"Plaintext", "aGk="}})["CiphertextBlob"];
    mac_ = Must(kCfo, "GenerateMac", Mac())["Mac"];
  }
  json Mac() {
    return {{"KeyId", macs_}, {"Message", "aGk="}, {"MacAlgorithm", "HMAC_SHA_256"}};
  }
  // Every operation that has a DryRun, and a request that would succeed.
  std::map<std::string, json> Requests() {
    const json pair = {{"KeyId", key_}, {"KeyPairSpec", "ECC_NIST_P256"}};
    const json data = {{"KeyId", key_}, {"KeySpec", "AES_256"}};
    json check = Mac();
    check["Mac"] = mac_;
    return {
        {"Encrypt", {{"KeyId", key_}, {"Plaintext", "aGk="}}},
        {"Decrypt", {{"CiphertextBlob", blob_}}},
        {"ReEncrypt", {{"CiphertextBlob", blob_}, {"DestinationKeyId", key_}}},
        {"GenerateDataKey", data},
        {"GenerateDataKeyWithoutPlaintext", data},
        {"GenerateDataKeyPair", pair},
        {"GenerateDataKeyPairWithoutPlaintext", pair},
        {"GenerateMac", Mac()},
        {"VerifyMac", check},
        {"CreateGrant",
         {{"KeyId", key_},
          {"GranteePrincipal", "user:uid:60002"},
          {"Operations", {"Encrypt"}}}},
        {"RevokeGrant", {{"KeyId", key_}, {"GrantId", grant_["GrantId"]}}},
        {"RetireGrant", {{"KeyId", key_}, {"GrantId", grant_["GrantId"]}}},
    };
  }
  json Grants() { return Must(kCfo, "ListGrants", {{"KeyId", key_}})["Grants"]; }

  std::string key_, macs_;
  json grant_, blob_, mac_;
};

TEST_F(DryRunTest, EveryOperationThatHasItIsHere) {
  std::set<std::string> with, here;
  for (const Operation& operation : Operations())
    for (const Parameter& parameter : operation.parameters)
      if (operation.service == "kms" && parameter.name == "DryRun")
        with.emplace(operation.name);
  for (const auto& [operation, request] : Requests()) here.insert(operation);
  EXPECT_EQ(with, here);
}

TEST_F(DryRunTest, TellsWhetherItWouldBeAllowed) {
  const json before = Grants();
  for (auto [operation, request] : Requests()) {
    request["DryRun"] = true;
    clock_.Advance(hours(1));  // many refusals at once would have an alert behind them
    EXPECT_EQ(Try(kCfo, operation.c_str(), request), kDryRun) << operation;
    const json record = LastRecord();
    EXPECT_EQ(record["eventName"], operation);
    EXPECT_EQ(record["errorCode"], kDryRun);
    EXPECT_EQ(record["requestParameters"]["dryRun"], true);
    EXPECT_TRUE(record["responseElements"].is_null());
    ASSERT_FALSE(record["resources"].empty()) << operation;

    EXPECT_EQ(Try(kNobody, operation.c_str(), request),
              operation == "RetireGrant" ? "InvalidGrantIdException" : kDenied)
        << operation;
    EXPECT_EQ(LastRecord()["errorCode"], kDenied) << operation;
  }
  EXPECT_EQ(Grants(), before);
  // What would have been done can be.
  for (auto [operation, request] : Requests()) {
    if (operation == "RetireGrant") continue;  // it was revoked
    request["DryRun"] = false;
    EXPECT_EQ(Try(kCfo, operation.c_str(), request), "ok") << operation;
  }
}

TEST_F(DryRunTest, LooksAtTheStateOfTheKey) {
  Must(kCfo, "DisableKey", {{"KeyId", key_}});
  EXPECT_EQ(Try(kCfo, "Decrypt", {{"CiphertextBlob", blob_}, {"DryRun", true}}),
            "DisabledException");
}

}  // namespace
}  // namespace keyfold
