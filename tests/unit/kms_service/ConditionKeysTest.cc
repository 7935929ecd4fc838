// Does each condition key that KMS.md lists decide about real calls: let what fits,
// refuse the rest?
#include "KmsFixture.h"

namespace keyfold {
namespace {

constexpr char kCfoArn[] = "arn:aws:iam::000000000000:user/uid:60001";

// A call that the condition lets through, and one that it does not; "$k" is a key that
// encrypts, "$m" one of HMAC_256, "$e" one for imported material.
struct Case {
  json condition;
  const char* operation;
  json allowed, refused;
};

class ConditionKeysTest : public KmsTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    KmsTest::SetUp();
    Must(kRootUid, "iam", "ApplyIam", {{"Document", kTaggedIam}});
    keys_ = {{"$k", MakeKey()},
             {"$m", MakeKey("AWS_KMS", "HMAC_256")},
             {"$e", MakeKey("EXTERNAL")}};
    for (const auto& [name, key] : keys_) {
      const std::string alias = std::string("alias/") + name[1];
      Must(kCfo, "CreateAlias", {{"AliasName", alias}, {"TargetKeyId", key}});
    }
    Must(
        kCfo, "TagResource",
        {{"KeyId", keys_["$k"]}, {"Tags", {{{"TagKey", "dept"}, {"TagValue", "hr"}}}}});
    blob_ = Must(kCfo, "Encrypt", {{"KeyId", keys_["$k"]}, {"Plaintext", "aGk="}});
    hr_blob_ = Must(kCfo, "Encrypt",
                    {{"KeyId", keys_["$k"]},
                     {"Plaintext", "aGk="},
                     {"EncryptionContext", {{"dept", "hr"}}}});
  }
  json Named(const json& value) {
    if (!value.is_string()) return value;
    const auto text = value.get<std::string>();
    if (text == "$blob") return blob_["CiphertextBlob"];
    if (text == "$hr") return hr_blob_["CiphertextBlob"];
    const auto key = keys_.find(text);
    return key == keys_.end() ? value : json(key->second);
  }
  json Filled(json request) {
    for (auto& [name, value] : request.items()) value = Named(value);
    return request;
  }
  // The stranger, and accounts, may do everything on every key under the condition.
  void Let(const json& condition) {
    const json policy = {{"Statement",
                          {{{"Effect", "Allow"},
                            {"Principal", "user:uid:60001"},
                            {"Action", "kms:*"},
                            {"Resource", "*"}},
                           {{"Effect", "Allow"},
                            {"Principal", {"user:uid:60004", "user:uid:60002"}},
                            {"Action", "kms:*"},
                            {"Resource", "*"},
                            {"Condition", condition}}}}};
    for (const auto& [name, key] : keys_)
      Must(kCfo, "PutKeyPolicy", {{"KeyId", key}, {"Policy", policy.dump()}});
  }

  // KmsTest's users, and tags of the stranger and of accounts.
  static constexpr char kTaggedIam[] = R"(
users:
  "uid:60001": {policies: [FilesFullAccess, ConsoleReadOnlyAccess]}
  "uid:60002": {policies: [FilesFullAccess, ConsoleReadOnlyAccess], tags: {team: it}}
  "uid:60003": {policies: [AdministratorAccess]}
  "uid:60004": {tags: {team: hr}}
)";
  std::map<std::string, std::string> keys_;
  json blob_, hr_blob_;
};

json If(const char* op, const char* key, const json& value) {
  return {{op, {{key, value}}}};
}

TEST_P(ConditionKeysTest, LetsWhatFitsAndRefusesTheRest) {
  const Case& one = GetParam();
  Let(one.condition);
  EXPECT_EQ(Try(kNobody, one.operation, Filled(one.refused)), kDenied)
      << one.condition << one.refused;
  EXPECT_NE(Try(kNobody, one.operation, Filled(one.allowed)), kDenied)
      << one.condition << one.allowed;
}

const json kK = {{"KeyId", "$k"}}, kM = {{"KeyId", "$m"}}, kE = {{"KeyId", "$e"}};
json With(json request, const json& more) {
  request.update(more);
  return request;
}
const json kPolicyText = R"({"Statement": [{"Effect": "Allow", "Principal": "*",
  "Action": "kms:*", "Resource": "*"}]})";
const json kGrant = {{"KeyId", "$k"},
                     {"GranteePrincipal", "user:uid:60002"},
                     {"Operations", {"Decrypt"}}};
const json kImport = {
    {"KeyId", "$e"}, {"ImportToken", "aGk="}, {"EncryptedKeyMaterial", "aGk="}};
const json kWrap = {{"KeyId", "$e"},
                    {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                    {"WrappingKeySpec", "RSA_2048"}};
const json kMac = {
    {"KeyId", "$m"}, {"Message", "aGk="}, {"MacAlgorithm", "HMAC_SHA_256"}};
const json kPair = {{"KeyId", "$k"}, {"KeyPairSpec", "ECC_NIST_P256"}};
const json kMove = {{"CiphertextBlob", "$blob"}, {"DestinationKeyId", "$k"}};
constexpr double kNow = 1767225600;

INSTANTIATE_TEST_SUITE_P(
    OnKeys, ConditionKeysTest,
    testing::Values(
        Case{If("StringEquals", "kms:KeySpec", "HMAC_256"), "DescribeKey", kM, kK},
        Case{If("StringEquals", "kms:KeyUsage", "GENERATE_VERIFY_MAC"), "DescribeKey",
             kM, kK},
        Case{If("StringEquals", "kms:KeyOrigin", "EXTERNAL"), "DescribeKey", kE, kK},
        Case{{{"Bool", {{"kms:MultiRegion", "false"}}},
              {"StringEquals", {{"kms:KeySpec", "HMAC_256"}}}},
             "DescribeKey",
             kM,
             kK},
        Case{If("StringEquals", "kms:RequestAlias", "alias/k"),
             "DescribeKey",
             {{"KeyId", "arn:aws:kms:local-1:000000000000:alias/k"}},
             kK},
        Case{If("StringEquals", "kms:RequestAlias", "alias/k"),
             "DescribeKey",
             {{"KeyId", "alias/k"}},
             {{"KeyId", "alias/m"}}},
        Case{If("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/k*"),
             "DescribeKey", kK, kM},
        Case{If("StringEquals", "kms:MacAlgorithm", "HMAC_SHA_256"), "GenerateMac",
             kMac, With(kMac, {{"MacAlgorithm", "HMAC_SHA_512"}})},
        Case{If("StringEquals", "kms:MacAlgorithm", "HMAC_SHA_256"), "VerifyMac",
             With(kMac, {{"Mac", "aGk="}}),
             With(kMac, {{"Mac", "aGk="}, {"MacAlgorithm", "HMAC_SHA_512"}})},
        Case{If("StringEquals", "kms:DataKeyPairSpec", "ECC_NIST_P256"),
             "GenerateDataKeyPair", kPair,
             With(kPair, {{"KeyPairSpec", "ECC_NIST_P384"}})},
        Case{If("StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT"),
             "Encrypt", With(kK, {{"Plaintext", "aGk="}}),
             With(kK, {{"Plaintext", "aGk="}, {"EncryptionAlgorithm", "SM2PKE"}})},
        Case{If("Bool", "kms:ReEncryptOnSameKey", "true"), "ReEncrypt", kMove,
             With(kMove, {{"DestinationKeyId", "$e"}})},
        Case{If("Bool", "kms:BypassPolicyLockoutSafetyCheck", "false"), "PutKeyPolicy",
             With(kK, {{"Policy", kPolicyText}}),
             With(kK,
                  {{"Policy", kPolicyText}, {"BypassPolicyLockoutSafetyCheck", true}})},
        Case{If("NumericLessThanEquals", "kms:RotationPeriodInDays", "180"),
             "EnableKeyRotation", With(kK, {{"RotationPeriodInDays", 180}}), kK},
        Case{If("NumericGreaterThanEquals",
                "kms:ScheduleKeyDeletionPendingWindowInDays", "30"),
             "ScheduleKeyDeletion", kM, With(kK, {{"PendingWindowInDays", 29}})}));

const json kText = {{"KeyId", "$k"}, {"Plaintext", "aGk="}};
const json kData = {{"KeyId", "$k"}, {"KeySpec", "AES_256"}};
const json kHr = {{"EncryptionContext", {{"dept", "hr"}}}};
const json kIt = {{"EncryptionContext", {{"dept", "it"}}}};
const json kHrAndMore = {{"EncryptionContext", {{"dept", "hr"}, {"x", "y"}}}};
const json kMoveHr = {{"CiphertextBlob", "$hr"},
                      {"DestinationKeyId", "$k"},
                      {"SourceEncryptionContext", {{"dept", "hr"}}},
                      {"DestinationEncryptionContext", {{"dept", "hr"}}}};
const json kHrOnly = If("StringEquals", "kms:EncryptionContext:dept", "hr");

INSTANTIATE_TEST_SUITE_P(
    OnContexts, ConditionKeysTest,
    testing::Values(
        Case{kHrOnly, "Encrypt", With(kText, kHr), With(kText, kIt)},
        Case{kHrOnly, "Encrypt", With(kText, kHr), kText},
        Case{kHrOnly,
             "Decrypt",
             With({{"CiphertextBlob", "$hr"}}, kHr),
             {{"CiphertextBlob", "$blob"}}},
        Case{kHrOnly, "GenerateDataKey", With(kData, kHr), With(kData, kIt)},
        Case{kHrOnly, "GenerateDataKeyPair", With(kPair, kHr), kPair},
        // Each side of ReEncrypt has its own.
        Case{kHrOnly, "ReEncrypt", kMoveHr,
             With(kMoveHr, {{"DestinationEncryptionContext", {{"dept", "it"}}}})},
        Case{kHrOnly, "ReEncrypt", kMoveHr,
             With(kMoveHr, {{"CiphertextBlob", "$blob"},
                            {"SourceEncryptionContext", json::object()}})},
        Case{If("ForAllValues:StringEquals", "kms:EncryptionContextKeys", {"dept"}),
             "Encrypt", With(kText, kHr), With(kText, kHrAndMore)},
        Case{If("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", {"dept"}),
             "GenerateDataKey", With(kData, kHr), kData}));

// Of conditions that look only at the caller or the key, one call fits at most.
struct Fits {
  json condition;
  bool fits;
};
class CallerConditionTest : public ConditionKeysTest {
 protected:
  void Check(std::initializer_list<Fits> rows) {
    for (const Fits& row : rows) {
      Let(row.condition);
      EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kK)), row.fits ? "ok" : kDenied)
          << row.condition;
    }
  }
};

TEST_F(CallerConditionTest, LooksAtTheCallersAccountNameAndTags) {
  const char* const kArn = "arn:aws:iam::000000000000:user/uid:60004";
  Check({{If("StringEquals", "kms:CallerAccount", "000000000000"), true},
         {If("StringEquals", "kms:CallerAccount", "111111111111"), false},
         {If("StringEquals", "aws:PrincipalAccount", "000000000000"), true},
         {If("StringEquals", "aws:PrincipalAccount", "111111111111"), false},
         {If("ArnEquals", "aws:PrincipalArn", kArn), true},
         {If("ArnEquals", "aws:PrincipalArn", kCfoArn), false},
         {If("StringEquals", "aws:PrincipalType", "User"), true},
         {If("StringEquals", "aws:PrincipalType", "AssumedRole"), false},
         {If("StringEquals", "aws:username", "uid:60004"), true},
         {If("StringEquals", "aws:username", "uid:60001"), false},
         {If("StringEquals", "aws:PrincipalTag/team", "hr"), true},
         {If("StringEquals", "aws:PrincipalTag/team", "it"), false},
         {If("StringEquals", "aws:PrincipalTag/none", "hr"), false}});
}

TEST_F(CallerConditionTest, LooksAtTheKeysTagsAndTheTime) {
  Check({{If("StringEquals", "aws:ResourceTag/dept", "hr"), true},
         {If("StringEquals", "aws:ResourceTag/dept", "it"), false},
         {If("StringEquals", "aws:ResourceTag/none", "hr"), false},
         {If("DateLessThan", "aws:CurrentTime", "2026-01-02T00:00:00Z"), true},
         {If("DateLessThan", "aws:CurrentTime", "2025-12-31T00:00:00Z"), false}});
}

INSTANTIATE_TEST_SUITE_P(
    OnGrants, ConditionKeysTest,
    testing::Values(
        Case{If("StringEquals", "kms:GrantConstraintType", "EncryptionContextSubset"),
             "CreateGrant",
             With(kGrant,
                  {{"Constraints", {{"EncryptionContextSubset", {{"a", "b"}}}}}}),
             With(kGrant,
                  {{"Constraints", {{"EncryptionContextEquals", {{"a", "b"}}}}}})},
        Case{If("StringEquals", "kms:GrantConstraintType", "EncryptionContextSubset"),
             "CreateGrant",
             With(kGrant,
                  {{"Constraints", {{"EncryptionContextSubset", {{"a", "b"}}}}}}),
             kGrant},
        // The short form is no way around an ARN.
        Case{If("ArnEquals", "kms:GranteePrincipal", kCfoArn), "CreateGrant",
             With(kGrant, {{"GranteePrincipal", "user:uid:60001"}}), kGrant},
        Case{If("ArnEquals", "kms:RetiringPrincipal", kCfoArn), "CreateGrant",
             With(kGrant, {{"RetiringPrincipal", "user:uid:60001"}}), kGrant},
        Case{If("ForAllValues:StringEquals", "kms:GrantOperations", {"Decrypt"}),
             "CreateGrant", kGrant, With(kGrant, {{"Operations", {"Encrypt"}}})}));

INSTANTIATE_TEST_SUITE_P(
    OnImport, ConditionKeysTest,
    testing::Values(
        Case{If("StringEquals", "kms:WrappingAlgorithm", "RSAES_OAEP_SHA_256"),
             "GetParametersForImport", kWrap,
             With(kWrap, {{"WrappingAlgorithm", "RSAES_OAEP_SHA_1"}})},
        Case{If("StringEquals", "kms:WrappingKeySpec", "RSA_2048"),
             "GetParametersForImport", kWrap,
             With(kWrap, {{"WrappingKeySpec", "RSA_3072"}})},
        Case{If("StringEquals", "kms:ExpirationModel", "KEY_MATERIAL_EXPIRES"),
             "ImportKeyMaterial", kImport,
             With(kImport, {{"ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE"}})},
        Case{If("DateLessThan", "kms:ValidTo", "2026-01-08T00:00:00Z"),
             "ImportKeyMaterial", With(kImport, {{"ValidTo", kNow + 86400}}),
             With(kImport, {{"ValidTo", kNow + 8 * 86400}})}));

INSTANTIATE_TEST_SUITE_P(
    OnTags, ConditionKeysTest,
    testing::Values(
        Case{If("StringEquals", "aws:RequestTag/dept", "hr"), "TagResource",
             With(kK, {{"Tags", {{{"TagKey", "dept"}, {"TagValue", "hr"}}}}}),
             With(kK, {{"Tags", {{{"TagKey", "dept"}, {"TagValue", "it"}}}}})},
        Case{If("ForAllValues:StringEquals", "aws:TagKeys", {"dept"}), "TagResource",
             With(kK, {{"Tags", {{{"TagKey", "dept"}, {"TagValue", "hr"}}}}}),
             With(kK, {{"Tags", {{{"TagKey", "other"}, {"TagValue", "hr"}}}}})},
        Case{If("ForAllValues:StringEquals", "aws:TagKeys", {"dept"}), "UntagResource",
             With(kK, {{"TagKeys", {"dept"}}}), With(kK, {{"TagKeys", {"other"}}})}));

TEST_F(ConditionKeysTest, ADirectCallGoesThroughNoService) {
  Let(If("Null", "kms:ViaService", "true"));
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kK)), "ok");
  const FileEvent event{"OpenFile", "/f", KeyUse::kRead};
  EXPECT_EQ(kms_->Authorize(By(kNobody), keys_["$k"], {}, event).error(),
            Error::kAccessDenied);
  Let(If("StringEquals", "kms:ViaService", "fs.keyfold"));
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kK)), kDenied);
  EXPECT_TRUE(kms_->Authorize(By(kNobody), keys_["$k"], {}, event).ok());
}

TEST_F(ConditionKeysTest, NoGrantIsForAnAwsResource) {
  const char* const kKey = "kms:GrantIsForAWSResource";
  Let(If("Bool", kKey, "false"));
  EXPECT_EQ(Try(kNobody, "CreateGrant", Filled(kGrant)), "ok");
  EXPECT_EQ(Try(kNobody, "ListGrants", Filled(kK)), "ok");
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kK)), kDenied);
  Let(If("Bool", kKey, "true"));
  EXPECT_EQ(Try(kNobody, "CreateGrant", Filled(kGrant)), kDenied);
  EXPECT_EQ(Try(kNobody, "ListGrants", Filled(kK)), kDenied);
}

TEST_F(ConditionKeysTest, FilesAreUsedWithTheSymmetricAlgorithm) {
  Let(If("StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT"));
  const FileEvent event{"OpenFile", "/f", KeyUse::kRead};
  EXPECT_TRUE(kms_->Authorize(By(kNobody), keys_["$k"], {}, event).ok());
}

TEST_F(ConditionKeysTest, AliasesCountAsTheyAreNow) {
  Let(If("ForAnyValue:StringEquals", "kms:ResourceAliases", "alias/new"));
  const json new_alias = {{"AliasName", "alias/new"}};
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kK)), kDenied);
  Must(kCfo, "CreateAlias", Filled(With(new_alias, {{"TargetKeyId", "$k"}})));
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kK)), "ok");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kK)), "ok");
  Must(kCfo, "UpdateAlias", Filled(With(new_alias, {{"TargetKeyId", "$e"}})));
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kK)), kDenied);
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kE)), "ok");
  Must(kCfo, "DeleteAlias", new_alias);
  EXPECT_EQ(Try(kNobody, "DescribeKey", Filled(kE)), kDenied);
}

TEST_F(ConditionKeysTest, MakingAKeyHasTheConditionsOfItsRequest) {
  const auto create = [&](const json& condition, const json& request) {
    const json statement = {{"Effect", "Allow"},
                            {"Action", "kms:CreateKey"},
                            {"Resource", "*"},
                            {"Condition", condition}};
    const json iam = {
        {"users", {{"uid:60004", {{"policies", {"Makes"}}}}}},
        {"policies",
         {{"Makes", {{"Version", "2012-10-17"}, {"Statement", {statement}}}}}}};
    Must(kRootUid, "iam", "ApplyIam", {{"Document", iam.dump()}});
    return Try(kNobody, "CreateKey", request);
  };
  const json plain = json::object();
  const json hmac = {{"KeySpec", "HMAC_256"}, {"KeyUsage", "GENERATE_VERIFY_MAC"}};
  const json symmetric = If("StringEquals", "kms:KeySpec", "SYMMETRIC_DEFAULT");
  EXPECT_EQ(create(symmetric, plain), "ok");
  EXPECT_EQ(create(symmetric, hmac), kDenied);
  const json macs = If("StringEquals", "kms:KeyUsage", "GENERATE_VERIFY_MAC");
  EXPECT_EQ(create(macs, hmac), "ok");
  EXPECT_EQ(create(macs, plain), kDenied);
  const json ours = If("StringEquals", "kms:KeyOrigin", "AWS_KMS");
  EXPECT_EQ(create(ours, plain), "ok");
  EXPECT_EQ(create(ours, {{"Origin", "EXTERNAL"}}), kDenied);
  const json here = If("Bool", "kms:MultiRegion", "false");
  EXPECT_EQ(create(here, plain), "ok");
  EXPECT_EQ(create(here, {{"MultiRegion", true}}), kDenied);
  const json checked = If("Bool", "kms:BypassPolicyLockoutSafetyCheck", "false");
  EXPECT_EQ(create(checked, plain), "ok");
  EXPECT_EQ(create(checked, {{"BypassPolicyLockoutSafetyCheck", true}}), kDenied);
  const json tagged = If("StringEquals", "aws:RequestTag/dept", "hr");
  EXPECT_EQ(create(tagged, {{"Tags", {{{"TagKey", "dept"}, {"TagValue", "hr"}}}}}),
            "ok");
  EXPECT_EQ(create(tagged, plain), kDenied);
}

TEST_F(ConditionKeysTest, SimulationTakesThem) {
  Let(If("StringEquals", "kms:MacAlgorithm", "HMAC_SHA_256"));
  json request = {
      {"User", "uid:60002"}, {"Action", "kms:GenerateMac"}, {"KeyId", keys_["$m"]}};
  const auto decision = [&] {
    return Must(kSysadmin, "iam", "Simulate", request)["Decision"];
  };
  EXPECT_EQ(decision(), "implicitDeny");
  request["Conditions"] = {"kms:MacAlgorithm=HMAC_SHA_256"};
  EXPECT_EQ(decision(), "allowed");
  request["Conditions"] = {"kms:MacAlgorithm=HMAC_SHA_512"};
  EXPECT_EQ(decision(), "implicitDeny");
  request["Conditions"] = {"HMAC_SHA_512"};
  EXPECT_EQ(Try(kSysadmin, "Simulate", request, "iam"), "ValidationException");
  request.erase("Conditions");
  Let(If("StringEquals", "kms:ViaService", "fs.keyfold"));
  EXPECT_EQ(decision(), "implicitDeny");
  request["ViaService"] = "fs.keyfold";
  EXPECT_EQ(decision(), "allowed");
}

}  // namespace
}  // namespace keyfold
