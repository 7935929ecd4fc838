// Who may retire a grant, what do strangers learn of it, what is a token, and how many
// grants and import tokens may a key have?
#include "KmsFixture.h"
#include "kms/service/Service.h"

namespace keyfold {
namespace {

constexpr char kNoGrant[] = "InvalidGrantIdException";
constexpr char kBadToken[] = "InvalidGrantTokenException";
const std::string kUnknownToken = "kfg1-" + std::string(64, '0');

class GrantTest : public KmsTest {
 protected:
  void SetUp() override {
    KmsTest::SetUp();
    key_ = MakeKey();
  }
  // The cfo's grant to accounts, which sysadmin may retire.
  json Grant(const json& operations = {"Decrypt"}) {
    return Must(kCfo, "CreateGrant",
                {{"KeyId", key_},
                 {"GranteePrincipal", "user:uid:60002"},
                 {"RetiringPrincipal", "user:uid:60004"},
                 {"Operations", operations}});
  }
  bool Exists(const json& grant) {
    return !Must(kCfo, "ListGrants",
                 {{"KeyId", key_}, {"GrantId", grant["GrantId"]}})["Grants"]
                .empty();
  }
  json ById(const json& grant) {
    return {{"KeyId", key_}, {"GrantId", grant["GrantId"]}};
  }
  static json ByToken(const json& grant) {
    return {{"GrantToken", grant["GrantToken"]}};
  }

  std::string key_;
};

TEST_F(GrantTest, TheRetiringPrincipalRetires) {
  for (const bool token : {false, true}) {
    const json grant = Grant();
    const json request = token ? ByToken(grant) : ById(grant);
    EXPECT_EQ(Try(kNobody, "RetireGrant", request), "ok");
    EXPECT_FALSE(Exists(grant));
    EXPECT_EQ(Try(kNobody, "RetireGrant", request), kNoGrant);
  }
}

TEST_F(GrantTest, AGranteeRetiresOnlyWhatSaysSo) {
  const json plain = Grant(), retirable = Grant({"Decrypt", "RetireGrant"});
  EXPECT_EQ(Try(kAccounts, "RetireGrant", ById(retirable)), "ok");
  EXPECT_FALSE(Exists(retirable));
  EXPECT_EQ(Try(kAccounts, "RetireGrant", ById(plain)), kNoGrant);
  EXPECT_EQ(Try(kAccounts, "RetireGrant", ByToken(plain)), kNoGrant);
  EXPECT_TRUE(Exists(plain));
}

TEST_F(GrantTest, AStrangerLearnsNothingAndIsOnRecord) {
  const std::string other = MakeKey();
  const json grant = Must(kCfo, "CreateGrant",
                          {{"KeyId", other},
                           {"GranteePrincipal", "user:uid:60002"},
                           {"Operations", {"Decrypt"}}});
  const auto answer = [&](const json& request) {
    return Call(kNobody, "RetireGrant", request).status().ToString();
  };
  const json unknown = {{"KeyId", other}, {"GrantId", std::string(64, '0')}};
  const json known = {{"KeyId", other}, {"GrantId", grant["GrantId"]}};
  EXPECT_EQ(answer(known), answer(unknown));
  EXPECT_EQ(answer(known), answer({{"GrantToken", kUnknownToken}}));
  EXPECT_EQ(answer(known).find(other), std::string::npos);
  EXPECT_EQ(answer(ByToken(grant)), answer(unknown));
  ASSERT_NE(answer(unknown), "Ok");
  const json record = LastRecord();
  EXPECT_EQ(record["eventName"], "RetireGrant");
  EXPECT_EQ(record["errorCode"], "InvalidGrantIdException") << "of the unknown one";
  EXPECT_EQ(Try(kNobody, "RetireGrant", ByToken(grant)), kNoGrant);
  const json denied = LastRecord();
  EXPECT_EQ(denied["errorCode"], kDenied);
  ASSERT_EQ(denied["resources"].size(), 1u);
  EXPECT_NE(denied["resources"][0]["ARN"].get<std::string>().find(other),
            std::string::npos);
}

TEST_F(GrantTest, AKeyThatIsNotTheGrantsIsRefused) {
  const json grant = Grant();
  EXPECT_EQ(Try(kNobody, "RetireGrant",
                {{"KeyId", MakeKey()}, {"GrantId", grant["GrantId"]}}),
            kNoGrant);
  EXPECT_EQ(Try(kNobody, "RetireGrant", {{"GrantId", grant["GrantId"]}}),
            "ValidationException");
  EXPECT_EQ(
      Try(kCfo, "RevokeGrant", {{"KeyId", MakeKey()}, {"GrantId", grant["GrantId"]}}),
      kNoGrant);
  EXPECT_TRUE(Exists(grant));
}

TEST_F(GrantTest, MalformedTokensAreRefusedWhereverTheyAreGiven) {
  const std::string hex(64, '0');
  for (const std::string& token :
       {std::string("bogus"), std::string("kfg1-"), "kfg1-" + hex.substr(1),
        "kfg1-" + hex + "0", "kfg2-" + hex, "kfg1-" + std::string(64, 'g')}) {
    EXPECT_EQ(Try(kNobody, "RetireGrant", {{"GrantToken", token}}), kBadToken) << token;
    for (const auto& [operation, request] : std::map<std::string, json>{
             {"Encrypt", {{"Plaintext", "aGk="}}},
             {"GenerateDataKey", {{"KeySpec", "AES_256"}}},
             {"GenerateDataKeyPair", {{"KeyPairSpec", "ECC_NIST_P256"}}},
             {"DescribeKey", json::object()}}) {
      json with = request;
      with["KeyId"] = key_;
      with["GrantTokens"] = {kUnknownToken, token};
      EXPECT_EQ(Try(kCfo, operation.c_str(), with), kBadToken) << operation << token;
    }
  }
  const json blob = Must(kCfo, "Encrypt", {{"KeyId", key_}, {"Plaintext", "aGk="}});
  json decrypt = {{"CiphertextBlob", blob["CiphertextBlob"]}, {"GrantTokens", {"x"}}};
  EXPECT_EQ(Try(kCfo, "Decrypt", decrypt), kBadToken);
  decrypt["GrantTokens"] = json::array({Grant()["GrantToken"]});
  EXPECT_EQ(Try(kCfo, "Decrypt", decrypt), "ok");
  EXPECT_EQ(Try(kNobody, "Decrypt", decrypt), kDenied) << "a token is no right";
}

TEST_F(GrantTest, RetirableGrantsAreThoseOfThePrincipal) {
  const json first = Grant(), second = Grant();
  Must(kCfo, "CreateGrant",
       {{"KeyId", key_},
        {"GranteePrincipal", "user:uid:60002"},
        {"RetiringPrincipal", "user:uid:60001"},
        {"Operations", {"Encrypt"}}});
  const json listed =
      Must(kAccounts, "ListRetirableGrants", {{"RetiringPrincipal", "user:uid:60004"}});
  EXPECT_EQ(listed["Truncated"], false);
  std::set<std::string> ids;
  for (const json& grant : listed["Grants"]) {
    ids.insert(grant["GrantId"].get<std::string>());
    EXPECT_EQ(grant["RetiringPrincipal"], "arn:aws:iam::000000000000:user/uid:60004");
    EXPECT_EQ(grant["GranteePrincipal"], "arn:aws:iam::000000000000:user/uid:60002");
    EXPECT_EQ(grant["Operations"], json::array({"Decrypt"}));
  }
  EXPECT_EQ(ids, (std::set<std::string>{first["GrantId"].get<std::string>(),
                                        second["GrantId"].get<std::string>()}));
  EXPECT_EQ(Must(kAccounts, "ListRetirableGrants",
                 {{"RetiringPrincipal", "user:uid:60003"}})["Grants"]
                .size(),
            0u);
  EXPECT_EQ(
      Try(kNobody, "ListRetirableGrants", {{"RetiringPrincipal", "user:uid:60004"}}),
      kDenied);
}

TEST_F(GrantTest, PrincipalsThatAreNoneAreRefused) {
  for (const char* name : {"*", "arn:aws:s3:::bucket", "arn:aws:iam::000000000000"}) {
    EXPECT_EQ(
        Try(kCfo, "CreateGrant",
            {{"KeyId", key_}, {"GranteePrincipal", name}, {"Operations", {"Decrypt"}}}),
        "InvalidArnException")
        << name;
    EXPECT_EQ(Try(kCfo, "CreateGrant",
                  {{"KeyId", key_},
                   {"GranteePrincipal", "user:uid:60002"},
                   {"RetiringPrincipal", name},
                   {"Operations", {"Decrypt"}}}),
              "InvalidArnException");
    EXPECT_EQ(Try(kCfo, "ListGrants", {{"KeyId", key_}, {"GranteePrincipal", name}}),
              "InvalidArnException");
    EXPECT_EQ(Try(kAccounts, "ListRetirableGrants", {{"RetiringPrincipal", name}}),
              "InvalidArnException");
  }
}

TEST_F(GrantTest, AKeyHasOnlySoManyGrantsAndImportTokens) {
  EXPECT_EQ(Quotas().grants, 50000u);
  dynamic_cast<Service&>(*kms_).set_quotas({.grants = 2, .import_tokens = 2});
  const json first = Grant();
  Grant({"Encrypt"});
  const json third = {{"KeyId", key_},
                      {"GranteePrincipal", "user:uid:60002"},
                      {"Operations", {"Decrypt"}}};
  EXPECT_EQ(Try(kCfo, "CreateGrant", third), "LimitExceededException");
  EXPECT_EQ(Try(kNobody, "RetireGrant", ById(first)), "ok");
  EXPECT_EQ(Try(kCfo, "CreateGrant", third), "ok");

  const json import = {{"KeyId", MakeKey("EXTERNAL")},
                       {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                       {"WrappingKeySpec", "RSA_2048"}};
  EXPECT_EQ(Try(kCfo, "GetParametersForImport", import), "ok");
  EXPECT_EQ(Try(kCfo, "GetParametersForImport", import), "ok");
  EXPECT_EQ(Try(kCfo, "GetParametersForImport", import), "LimitExceededException");
  clock_.Advance(hours(24));
  EXPECT_EQ(Try(kCfo, "GetParametersForImport", import), "ok");
}

}  // namespace
}  // namespace keyfold
