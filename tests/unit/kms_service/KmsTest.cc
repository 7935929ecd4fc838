// Do keys behave as AWS KMS says, for whom policies let, and for nobody else?
#include <atomic>
#include <thread>

#include "KmsFixture.h"
#include "kms/service/Dispatch.h"

namespace keyfold {
namespace {

json Wrapped(const char* text) { return ToBase64(AsBytes(text)); }

TEST_F(KmsTest, EncryptsAndDecryptsUnderTheContext) {
  const std::string key = MakeKey();
  const json made = Must(kCfo, "Encrypt",
                         {{"KeyId", key},
                          {"Plaintext", Wrapped("salary")},
                          {"EncryptionContext", {{"a", "1"}}}});
  const json blob = made["CiphertextBlob"];
  EXPECT_EQ(Must(kCfo, "Decrypt",
                 {{"CiphertextBlob", blob},
                  {"EncryptionContext", {{"a", "1"}}}})["Plaintext"],
            Wrapped("salary"));
  EXPECT_EQ(Try(kCfo, "Decrypt", {{"CiphertextBlob", blob}}),
            "InvalidCiphertextException");
  EXPECT_EQ(Try(kCfo, "Decrypt",
                {{"CiphertextBlob", blob}, {"EncryptionContext", {{"a", "2"}}}}),
            "InvalidCiphertextException");
  EXPECT_EQ(Try(kAccounts, "Decrypt",
                {{"CiphertextBlob", blob}, {"EncryptionContext", {{"a", "1"}}}}),
            kDenied);
}

TEST_F(KmsTest, ARequestOutsideTheLimitsIsOnRecordWithItsKey) {
  const std::string key = MakeKey();
  EXPECT_EQ(Try(kCfo, "ScheduleKeyDeletion",
                {{"KeyId", key}, {"PendingWindowInDays", 6}, {"Nonsense", 1}}),
            "ValidationException");
  const json record = LastRecord();
  EXPECT_EQ(record["requestParameters"], json({{"keyId", key}}));
  ASSERT_EQ(record["resources"].size(), 1u) << record;
  EXPECT_NE(record["resources"][0]["ARN"].get<std::string>().find(key),
            std::string::npos);
}

TEST_F(KmsTest, EveryChangedByteOfABlobIsRefused) {
  const std::string key = MakeKey();
  const json made =
      Must(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", Wrapped("x")}});
  const Bytes blob = *FromBase64(made["CiphertextBlob"].get<std::string>());
  for (size_t i = 0; i < blob.size(); ++i) {
    Bytes altered = blob;
    altered[i] ^= 0x40;
    EXPECT_EQ(Try(kCfo, "Decrypt", {{"CiphertextBlob", ToBase64(altered)}}),
              "InvalidCiphertextException")
        << "byte " << i;
  }
}

TEST_F(KmsTest, ABlobOfOneKeyIsRefusedByAnother) {
  const std::string a = MakeKey(), b = MakeKey();
  const json made =
      Must(kCfo, "GenerateDataKey", {{"KeyId", a}, {"KeySpec", "AES_256"}});
  EXPECT_EQ(
      Try(kCfo, "Decrypt", {{"CiphertextBlob", made["CiphertextBlob"]}, {"KeyId", b}}),
      "IncorrectKeyException");
  EXPECT_EQ(
      Must(kCfo, "Decrypt", {{"CiphertextBlob", made["CiphertextBlob"]}})["Plaintext"],
      made["Plaintext"]);
  // The key id in the blob rewritten to the other key's.
  Bytes forged = *FromBase64(made["CiphertextBlob"].get<std::string>());
  const json other = Must(kCfo, "Encrypt", {{"KeyId", b}, {"Plaintext", Wrapped("x")}});
  const Bytes theirs = *FromBase64(other["CiphertextBlob"].get<std::string>());
  std::copy_n(theirs.begin() + 1, 16, forged.begin() + 1);
  EXPECT_EQ(Try(kCfo, "Decrypt", {{"CiphertextBlob", ToBase64(forged)}}),
            "InvalidCiphertextException");
}

TEST_F(KmsTest, ReEncryptMovesABlobToAnotherKey) {
  const std::string a = MakeKey(), b = MakeKey();
  const json first = Must(kCfo, "Encrypt", {{"KeyId", a}, {"Plaintext", Wrapped("x")}});
  const json second =
      Must(kCfo, "ReEncrypt",
           {{"CiphertextBlob", first["CiphertextBlob"]}, {"DestinationKeyId", b}});
  EXPECT_EQ(
      Must(kCfo, "Decrypt",
           {{"CiphertextBlob", second["CiphertextBlob"]}, {"KeyId", b}})["Plaintext"],
      Wrapped("x"));
  EXPECT_FALSE(second.contains("Plaintext"));
}

TEST_F(KmsTest, OldVersionsDecryptAfterRotation) {
  const std::string key = MakeKey();
  const json old =
      Must(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", Wrapped("old")}});
  Must(kCfo, "EnableKeyRotation", {{"KeyId", key}, {"RotationPeriodInDays", 90}});
  clock_.Advance(days(91));
  ASSERT_TRUE(kms_->Tick().ok());
  Must(kCfo, "RotateKeyOnDemand", {{"KeyId", key}});
  ASSERT_TRUE(Reopen().ok());
  const json rotations = Must(kCfo, "ListKeyRotations", {{"KeyId", key}})["Rotations"];
  ASSERT_EQ(rotations.size(), 2u);
  EXPECT_EQ(rotations[0]["RotationType"], "AUTOMATIC");
  EXPECT_EQ(
      Must(kCfo, "Decrypt", {{"CiphertextBlob", old["CiphertextBlob"]}})["Plaintext"],
      Wrapped("old"));
}

TEST_F(KmsTest, ARotationMakesWrapsOldUntilTheyAreMadeAnew) {
  const std::string key = MakeKey();
  const EncryptionContext context = {{"keyfold:file", "f"}};
  const auto wrapped = kms_->GenerateDataKey(By(kCfo), key, context, "/a");
  ASSERT_TRUE(wrapped.ok());
  EXPECT_TRUE(kms_->IsCurrent(wrapped->blob));
  Must(kCfo, "RotateKeyOnDemand", {{"KeyId", key}});
  EXPECT_FALSE(kms_->IsCurrent(wrapped->blob));
  const auto again =
      kms_->RewrapDataKey(By(kCfo), wrapped->blob, context, key, context, "/a");
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(kms_->IsCurrent(again->blob));
  EXPECT_TRUE(kms_->UnwrapDataKey(By(kCfo), again->blob, context, "/a").ok());
  EXPECT_TRUE(kms_->IsCurrent(Bytes{1, 2, 3})) << "what is not known is left alone";
}

TEST_F(KmsTest, DeletionWaitsAndThenDestroys) {
  const std::string key = MakeKey();
  Must(kCfo, "CreateAlias", {{"AliasName", "alias/cfo"}, {"TargetKeyId", key}});
  for (int days_ : {0, 6, 31})
    EXPECT_EQ(Try(kCfo, "ScheduleKeyDeletion",
                  {{"KeyId", key}, {"PendingWindowInDays", days_}}),
              "ValidationException");
  const json scheduled = Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", "alias/cfo"}});
  EXPECT_EQ(scheduled["PendingWindowInDays"], 30);
  clock_.Advance(days(30) - std::chrono::seconds(1));
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(State(key), "PendingDeletion");
  clock_.Advance(std::chrono::seconds(1));
  // Due keys are out of reach even before they are destroyed.
  EXPECT_EQ(Try(kSysadmin, "CancelKeyDeletion", {{"KeyId", key}}), "NotFoundException");
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(Try(kSysadmin, "DescribeKey", {{"KeyId", key}}), "NotFoundException");
  EXPECT_EQ(Try(kSysadmin, "DescribeKey", {{"KeyId", "alias/cfo"}}),
            "NotFoundException");
  EXPECT_EQ(Try(kCfo, "DescribeKey", {{"KeyId", key}}), "NotFoundException");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Try(kSysadmin, "DescribeKey", {{"KeyId", key}}), "NotFoundException");
}

TEST_F(KmsTest, DestructionAlsoHappensAtTheNextStart) {
  const std::string key = MakeKey();
  Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", key}, {"PendingWindowInDays", 7}});
  kms_.reset();
  clock_.Advance(days(8));
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Try(kSysadmin, "DescribeKey", {{"KeyId", key}}), "NotFoundException");
  EXPECT_EQ(LastRecord()["eventName"], "DescribeKey");
}

TEST_F(KmsTest, CancellingGivesADisabledKey) {
  const std::string key = MakeKey();
  const json made =
      Must(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", Wrapped("x")}});
  Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", key}});
  Must(kCfo, "CancelKeyDeletion", {{"KeyId", key}});
  EXPECT_EQ(State(key), "Disabled");
  EXPECT_EQ(Try(kCfo, "Decrypt", {{"CiphertextBlob", made["CiphertextBlob"]}}),
            "DisabledException");
  Must(kCfo, "EnableKey", {{"KeyId", key}});
  EXPECT_EQ(Try(kCfo, "Decrypt", {{"CiphertextBlob", made["CiphertextBlob"]}}), "ok");
}

TEST_F(KmsTest, AliasesHaveRules) {
  const std::string key = MakeKey();
  auto create = [&](const std::string& name) {
    return Try(kCfo, "CreateAlias", {{"AliasName", name}, {"TargetKeyId", key}});
  };
  EXPECT_EQ(create("alias/cfo"), "ok");
  EXPECT_EQ(create("alias/cfo"), "AlreadyExistsException");
  EXPECT_EQ(create("cfo"), "ValidationException");
  EXPECT_EQ(create("alias/c f o"), "ValidationException");
  EXPECT_EQ(create("alias/"), "InvalidAliasNameException");
  EXPECT_EQ(create("alias/aws/mine"), "NotAuthorizedException");
  EXPECT_EQ(create("alias/" + std::string(251, 'x')), "ValidationException");
  EXPECT_EQ(create("alias/" + std::string(250, 'x')), "ok");
  // Not by somebody who may not administer the key.
  EXPECT_EQ(
      Try(kAccounts, "CreateAlias", {{"AliasName", "alias/z"}, {"TargetKeyId", key}}),
      kDenied);
  EXPECT_EQ(Try(kAccounts, "DeleteAlias", {{"AliasName", "alias/cfo"}}), kDenied);
  EXPECT_EQ(Try(kCfo, "DeleteAlias", {{"AliasName", "alias/cfo"}}), "ok");
}

TEST_F(KmsTest, AccountsMayLookButNotTouch) {
  const std::string key = MakeKey();
  EXPECT_EQ(Try(kAccounts, "DescribeKey", {{"KeyId", key}}), "ok");
  EXPECT_EQ(Try(kAccounts, "ListKeys", json::object()), "ok");
  for (const auto& [operation, extra] : std::map<const char*, json>{
           {"DisableKey", json::object()},
           {"ScheduleKeyDeletion", json::object()},
           {"PutKeyPolicy", {{"Policy", "{}"}}},
           {"TagResource", {{"Tags", json::array()}}},
           {"Encrypt", {{"Plaintext", "aGk="}}},
           {"GenerateDataKey", {{"KeySpec", "AES_256"}}},
           {"CreateGrant",
            {{"GranteePrincipal", "user:uid:60002"}, {"Operations", {"Decrypt"}}}}}) {
    json request = extra;
    request["KeyId"] = key;
    EXPECT_EQ(Try(kAccounts, operation, request), kDenied) << operation;
  }
}

TEST_F(KmsTest, WhoMayNotKnowLearnsNothing) {
  const std::string key = MakeKey();
  const auto there = Call(kNobody, "DescribeKey", {{"KeyId", key}});
  const std::string other = "01234567-89ab-4cde-8f01-23456789abcd";
  const auto absent = Call(kNobody, "DescribeKey", {{"KeyId", other}});
  EXPECT_EQ(there.status().error(), Error::kAccessDenied);
  EXPECT_EQ(absent.status().error(), Error::kAccessDenied);
  std::string text = absent.status().message();
  text.replace(text.find(other), other.size(), key);
  EXPECT_EQ(text, there.status().message());
  EXPECT_EQ(Try(kAccounts, "DescribeKey", {{"KeyId", other}}), "NotFoundException");
}

TEST_F(KmsTest, AdministratorAccessMayUseAndJoinThroughTheAccountStatement) {
  const std::string key = MakeKey();
  EXPECT_EQ(Try(kSysadmin, "Encrypt", {{"KeyId", key}, {"Plaintext", "aGk="}}), "ok");
  EXPECT_EQ(Try(kSysadmin, "PutKeyPolicy", {{"KeyId", key}, {"Policy", kPolicy}}),
            "ok");
  // The account's root user is nobody special to a key.
  EXPECT_EQ(Try(kRootUid, "Encrypt", {{"KeyId", key}, {"Plaintext", "aGk="}}), kDenied);
  EXPECT_EQ(Try(kRootUid, "PutKeyPolicy", {{"KeyId", key}, {"Policy", kPolicy}}),
            kDenied);
}

TEST_F(KmsTest, ADowngradedAdministratorCannotTakeItBack) {
  const std::string key = MakeKey();
  std::string iam = kIam;
  iam.replace(iam.find("AdministratorAccess"), 19, "SystemAdministrator");
  Must(kRootUid, "iam", "ApplyIam", {{"Document", iam}});
  EXPECT_EQ(Try(kSysadmin, "Encrypt", {{"KeyId", key}, {"Plaintext", "aGk="}}),
            kDenied);
  EXPECT_EQ(Try(kSysadmin, "PutKeyPolicy", {{"KeyId", key}, {"Policy", kPolicy}}),
            kDenied);
  EXPECT_EQ(Try(kSysadmin, "ApplyIam", {{"Document", kIam}}, "iam"), kDenied);
  EXPECT_EQ(Try(kSysadmin, "DescribeKey", {{"KeyId", key}}), "ok");
}

TEST_F(KmsTest, APolicyThatLocksOutItsAuthorIsRefused) {
  const std::string key = MakeKey();
  const json nobody = R"({"Statement": [{"Effect": "Allow", "Action": "kms:*",
    "Principal": {"AWS": "arn:aws:iam::000000000000:user/other"}, "Resource": "*"}]})";
  EXPECT_EQ(Try(kCfo, "PutKeyPolicy", {{"KeyId", key}, {"Policy", nobody}}),
            "MalformedPolicyDocumentException");
  EXPECT_EQ(Try(kCfo, "PutKeyPolicy",
                {{"KeyId", key},
                 {"Policy", nobody},
                 {"BypassPolicyLockoutSafetyCheck", true}}),
            "ok");
  // Without the account statement IAM policies give nothing on the key.
  EXPECT_EQ(Try(kCfo, "DescribeKey", {{"KeyId", key}}), kDenied);
}

TEST_F(KmsTest, GrantsLetAndStopLetting) {
  const std::string key = MakeKey();
  const json blob = Must(kCfo, "Encrypt",
                         {{"KeyId", key},
                          {"Plaintext", "aGk="},
                          {"EncryptionContext", {{"dept", "hr"}, {"n", "1"}}}});
  const json decrypt = {{"CiphertextBlob", blob["CiphertextBlob"]},
                        {"EncryptionContext", {{"dept", "hr"}, {"n", "1"}}}};
  EXPECT_EQ(Try(kNobody, "Decrypt", decrypt), kDenied);
  const json wrong =
      Must(kCfo, "CreateGrant",
           {{"KeyId", key},
            {"GranteePrincipal", "user:uid:60004"},
            {"Operations", {"Decrypt"}},
            {"Constraints", {{"EncryptionContextSubset", {{"dept", "it"}}}}}});
  EXPECT_EQ(Try(kNobody, "Decrypt", decrypt), kDenied);
  const json request = {
      {"KeyId", key},
      {"GranteePrincipal", "user:uid:60004"},
      {"Operations", {"Decrypt"}},
      {"Name", "payroll"},
      {"Constraints", {{"EncryptionContextSubset", {{"dept", "hr"}}}}}};
  const json grant = Must(kCfo, "CreateGrant", request);
  EXPECT_EQ(Must(kCfo, "CreateGrant", request)["GrantId"], grant["GrantId"]);
  EXPECT_EQ(Try(kNobody, "Decrypt", decrypt), "ok");
  EXPECT_EQ(Must(kCfo, "ListGrants", {{"KeyId", key}})["Grants"].size(), 2u);
  EXPECT_EQ(
      Try(kNobody, "RevokeGrant", {{"KeyId", key}, {"GrantId", grant["GrantId"]}}),
      kDenied);
  Must(kCfo, "RevokeGrant", {{"KeyId", key}, {"GrantId", grant["GrantId"]}});
  EXPECT_EQ(Try(kNobody, "Decrypt", decrypt), kDenied);
  EXPECT_EQ(Try(kCfo, "RevokeGrant", {{"KeyId", key}, {"GrantId", grant["GrantId"]}}),
            "InvalidGrantIdException");
}

TEST_F(KmsTest, AGranteePassesOnOnlyWhatItHolds) {
  const std::string key = MakeKey();
  Must(kCfo, "CreateGrant",
       {{"KeyId", key},
        {"GranteePrincipal", "user:uid:60004"},
        {"Operations", {"Decrypt", "CreateGrant"}}});
  auto pass_on = [&](const char* operation) {
    return Try(kNobody, "CreateGrant",
               {{"KeyId", key},
                {"GranteePrincipal", "user:uid:60002"},
                {"Operations", {operation}}});
  };
  EXPECT_EQ(pass_on("Decrypt"), "ok");
  EXPECT_EQ(pass_on("Encrypt"), kDenied);
}

TEST_F(KmsTest, ServiceKeysAreSeenButNotAdministered) {
  const json key =
      Must(kSysadmin, "DescribeKey", {{"KeyId", "alias/aws/fs"}})["KeyMetadata"];
  EXPECT_EQ(key["KeyManager"], "AWS");
  for (const char* operation :
       {"DisableKey", "ScheduleKeyDeletion", "EnableKeyRotation"})
    EXPECT_EQ(Try(kSysadmin, operation, {{"KeyId", "alias/aws/fs"}}), kDenied)
        << operation;
  EXPECT_EQ(
      Try(kSysadmin, "Encrypt", {{"KeyId", "alias/aws/fs"}, {"Plaintext", "aGk="}}),
      kDenied);
}

TEST_F(KmsTest, FilesUseKeysThroughTheSameDecision) {
  const std::string key = MakeKey();
  const EncryptionContext context = {{"keyfold:file", "f"}};
  auto wrapped = kms_->GenerateDataKey(By(kCfo), key, context, "/reports/a");
  ASSERT_TRUE(wrapped.ok()) << wrapped.status().ToString();
  const FileEvent open{"OpenFile", "/reports/a", KeyUse::kRead};
  EXPECT_TRUE(kms_->Authorize(By(kCfo), key, context, open).ok());
  EXPECT_EQ(kms_->Authorize(By(kNobody), key, context, open).error(),
            Error::kAccessDenied);
  json record = LastRecord();
  EXPECT_EQ(record["errorCode"], kDenied);
  EXPECT_EQ(record["resources"][1]["path"], "/reports/a");
  EXPECT_EQ(record["userIdentity"]["uid"], kNobody);
  EXPECT_EQ(
      kms_->UnwrapDataKey(By(kNobody), wrapped->blob, context, "").status().error(),
      Error::kAccessDenied);
  EXPECT_TRUE(kms_->UnwrapDataKey(By(kCfo), wrapped->blob, context, "").ok());
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  EXPECT_EQ(kms_->StillAllowed(By(kCfo), key, context, KeyUse::kRead).error(),
            Error::kDisabled);
  auto service = kms_->ResolveKey("alias/aws/fs");
  EXPECT_TRUE(kms_->Authorize(By(kNobody), *service, context, open).ok());
}

TEST_F(KmsTest, ChangesAreNotifiedAndGrowTheGeneration) {
  const std::string key = MakeKey();
  int notified = 0;
  kms_->SetChangeListener([&] { ++notified; });
  const uint64_t before = kms_->Generation();
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  EXPECT_EQ(notified, 1);
  EXPECT_GT(kms_->Generation(), before);
  Try(kAccounts, "EnableKey", {{"KeyId", key}});
  EXPECT_EQ(notified, 1);
  kms_->SetChangeListener({});
}

TEST_F(KmsTest, RequestsAreCheckedAgainstTheSchema) {
  const std::string key = MakeKey();
  for (const json& request : std::vector<json>{json::array(),
                                               json::object(),
                                               {{"KeyId", 7}},
                                               {{"KeyId", key}, {"Typo", 1}}})
    EXPECT_EQ(Try(kCfo, "DescribeKey", request), "ValidationException") << request;
  EXPECT_EQ(Try(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", "not base64!"}}),
            "ValidationException");
  EXPECT_EQ(
      Try(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", ToBase64(Bytes(4097))}}),
      "ValidationException");
  EXPECT_EQ(Try(kCfo, "ListKeys", {{"Limit", 0}}), "ValidationException");
  EXPECT_EQ(Try(kCfo, "ListKeys", {{"Marker", "x"}}), "InvalidMarkerException");
  EXPECT_EQ(Try(kCfo, "NoSuchThing", {{"KeyId", key}}),
            "UnsupportedOperationException");
}

TEST_F(KmsTest, ListsArePaged) {
  for (int i = 0; i < 5; ++i) MakeKey();
  std::set<std::string> seen;
  json request = {{"Limit", 2}};
  for (int pages = 0; pages < 10; ++pages) {
    const json page = Must(kCfo, "ListKeys", request);
    for (const json& key : page["Keys"]) seen.insert(key["KeyId"]);
    if (!page["Truncated"]) break;
    request["Marker"] = page["NextMarker"];
  }
  EXPECT_EQ(seen.size(), 6u);
}

TEST_F(KmsTest, TagsHaveRules) {
  const std::string key = MakeKey();
  auto tag = [&](json tags) {
    return Try(kCfo, "TagResource", {{"KeyId", key}, {"Tags", tags}});
  };
  const json a = {{"TagKey", "a"}, {"TagValue", "1"}};
  EXPECT_EQ(tag({a}), "ok");
  EXPECT_EQ(tag({a, a}), "TagException");
  EXPECT_EQ(tag({{{"TagKey", "aws:x"}, {"TagValue", "1"}}}), "TagException");
  json many = json::array();
  for (int i = 0; i < 50; ++i)
    many.push_back({{"TagKey", "k" + std::to_string(i)}, {"TagValue", ""}});
  EXPECT_EQ(tag(many), "TagException");  // 51 with "a"
}

TEST_F(KmsTest, ATextThatChangesNothingIsNotStored) {
  const std::string same = std::string("# mine now\n") + kIam;
  const json answer = Must(kAccounts, "iam", "ApplyIam", {{"Document", same}});
  EXPECT_TRUE(answer["Changes"].empty());
  EXPECT_EQ(Must(kRootUid, "iam", "GetIam", json::object())["Document"], kIam);
  EXPECT_NE(LastRecord()["eventSource"], "alerts.keyfold");
}

TEST_F(KmsTest, SimulateTellsWhyToWhoMayKnow) {
  const std::string key = MakeKey();
  const json request = {
      {"User", "user:uid:60002"}, {"Action", "Decrypt"}, {"KeyId", key}};
  const json told = Must(kAccounts, "iam", "Simulate", request);
  EXPECT_EQ(told["Decision"], "implicitDeny");
  EXPECT_TRUE(told.contains("Reason"));
  EXPECT_EQ(Try(kAccounts, "Simulate",
                {{"User", "nobody-of-this-name"}, {"Action", "Decrypt"}}, "iam"),
            "ValidationException");
  // Who may not describe the key learns neither that it is there nor that it isn't.
  for (const std::string& given :
       {key, std::string("01234567-89ab-4cde-8f01-23456789abcd")})
    EXPECT_EQ(
        Try(kNobody, "Simulate", {{"Action", "Decrypt"}, {"KeyId", given}}, "iam"),
        kDenied);
  EXPECT_EQ(Try(kNobody, "Simulate", request, "iam"), kDenied);
}

TEST_F(KmsTest, SimulateNamesTheStatementThatDecides) {
  const std::string key = MakeKey();
  Must(kCfo, "PutKeyPolicy", {{"KeyId", key}, {"Policy", R"(
Statement:
  - {Sid: Cfo, Effect: Allow, Principal: "user:uid:60001", Action: "kms:*"}
  - {Sid: Readers, Effect: Allow, Principal: "user:uid:60002", Action: "kms:Decrypt"}
  - {Sid: NoForgers, Effect: Deny, Principal: "user:uid:60002", Action: "kms:Encrypt"}
)"}});
  const auto reason = [&](const char* action) {
    return Must(kSysadmin, "iam", "Simulate",
                {{"User", "uid:60002"}, {"Action", action}, {"KeyId", key}})["Reason"]
        .get<std::string>();
  };
  EXPECT_EQ(reason("Decrypt"), "allowed by statement 'Readers' of the key policy");
  EXPECT_EQ(reason("Encrypt"),
            "explicitly denied by statement 'NoForgers' of the key policy");
}

TEST_F(KmsTest, ReadingTheLogIsOnRecordUnlessItGoesOn) {
  auto last = [&](const json& request) {
    return Must(kAccounts, "audit", "LookupEvents", request)["LastSequence"]
        .get<uint64_t>();
  };
  const uint64_t first = last({{"AfterSequence", 0}});
  EXPECT_EQ(LastRecord()["userIdentity"]["uid"], kAccounts);
  const uint64_t next = last({{"AfterSequence", first}});
  EXPECT_EQ(last({{"AfterSequence", next}}), next);
}

TEST_F(KmsTest, OnlyWhatHappenedRaisesAlerts) {
  const std::string key = MakeKey();
  auto alerts = [&] {
    size_t count = 0;
    const json found = Must(kRootUid, "audit", "LookupEvents", json::object());
    for (const json& event : found["Events"])
      count += event["eventSource"] == "alerts.keyfold";
    return count;
  };
  const size_t before = alerts();
  Must(kRootUid, "iam", "ApplyIam", {{"Document", "{}"}, {"DryRun", true}});
  EXPECT_EQ(alerts(), before);
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  EXPECT_EQ(alerts(), before + 1);
  Must(kCfo, "EnableKey", {{"KeyId", key}});
  auto wrapped = kms_->GenerateDataKey(By(kCfo), key, {}, "/a");
  ASSERT_TRUE(wrapped.ok());
  const Status damaged{Error::kInvalidCiphertext, "another file's key"};
  ASSERT_TRUE(
      kms_->RecordFileEvent(By(kCfo), key, {"OpenFile", "/a", KeyUse::kRead}, damaged)
          .ok());
  EXPECT_EQ(alerts(), before + 2);
}

TEST_F(KmsTest, EveryOperationOfTheSchemaIsServed) {
  for (const Operation& operation : Operations())
    EXPECT_NE(FindDispatch(operation.service, operation.name), nullptr)
        << operation.name;
}

TEST_F(KmsTest, ReEncryptIsDecidedOnTheContextOfEachSide) {
  const std::string key = MakeKey();
  const json blob = Must(
      kCfo, "Encrypt",
      {{"KeyId", key}, {"Plaintext", "aGk="}, {"EncryptionContext", {{"file", "hr"}}}});
  Must(kCfo, "CreateGrant",
       {{"KeyId", key},
        {"GranteePrincipal", "user:uid:60004"},
        {"Operations", {"Decrypt", "ReEncryptFrom", "ReEncryptTo"}},
        {"Constraints", {{"EncryptionContextEquals", {{"file", "public"}}}}}});
  json request = {{"CiphertextBlob", blob["CiphertextBlob"]},
                  {"DestinationKeyId", key},
                  {"SourceEncryptionContext", {{"file", "hr"}}},
                  {"DestinationEncryptionContext", {{"file", "public"}}}};
  EXPECT_EQ(Try(kNobody, "ReEncrypt", request), kDenied);
  EXPECT_EQ(Try(kCfo, "ReEncrypt", request), "ok");
  const json open = Must(kCfo, "Encrypt",
                         {{"KeyId", key},
                          {"Plaintext", "aGk="},
                          {"EncryptionContext", {{"file", "public"}}}});
  request["CiphertextBlob"] = open["CiphertextBlob"];
  request["SourceEncryptionContext"] = {{"file", "public"}};
  EXPECT_EQ(Try(kNobody, "ReEncrypt", request), "ok");
  request["DestinationEncryptionContext"] = {{"file", "hr"}};
  EXPECT_EQ(Try(kNobody, "ReEncrypt", request), kDenied);
}

TEST_F(KmsTest, OnlyTheFilesystemMakesItsOwnContexts) {
  const std::string key = MakeKey();
  const json context = {{"keyfold:file", "f"}};
  EXPECT_EQ(
      Try(kCfo, "Encrypt",
          {{"KeyId", key}, {"Plaintext", "aGk="}, {"EncryptionContext", context}}),
      "ValidationException");
  EXPECT_EQ(
      Try(kCfo, "GenerateDataKey",
          {{"KeyId", key}, {"KeySpec", "AES_256"}, {"EncryptionContext", context}}),
      "ValidationException");
  const json blob = Must(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", "aGk="}});
  EXPECT_EQ(Try(kCfo, "ReEncrypt",
                {{"CiphertextBlob", blob["CiphertextBlob"]},
                 {"DestinationKeyId", key},
                 {"DestinationEncryptionContext", context}}),
            "ValidationException");
}

TEST_F(KmsTest, ARecordAlwaysFits) {
  const std::string key = MakeKey();
  json context = json::object();
  for (int i = 0; i < 3000; ++i)
    context["name-" + std::to_string(i)] = std::string(30, 'x');
  EXPECT_EQ(
      Try(kNobody, "Encrypt",
          {{"KeyId", key}, {"Plaintext", "aGk="}, {"EncryptionContext", context}}),
      kDenied);
  EXPECT_EQ(LastRecord()["errorCode"], kDenied);
}

class ClockTest : public KmsTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(ClockTest, PoliciesThatLookAtTheClockAreAskedAgain) {
  const std::string key = MakeKey();
  int notified = 0;
  kms_->SetChangeListener([&] { ++notified; });
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(notified, 0);
  const std::string policy =
      std::string(R"({"Statement": [{"Effect": "Allow", "Action": "kms:*",
    "Principal": "user:uid:60001", "Condition": {"DateLessThan":
    {")") +
      GetParam() + R"(": "2026-01-02T00:00:00Z"}}}]})";
  Must(kCfo, "PutKeyPolicy", {{"KeyId", key}, {"Policy", policy}});
  EXPECT_TRUE(kms_->StillAllowed(By(kCfo), key, {}, KeyUse::kRead).ok());
  clock_.Advance(days(2));
  const int before = notified;
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(notified, before + 1);
  EXPECT_EQ(kms_->StillAllowed(By(kCfo), key, {}, KeyUse::kRead).error(),
            Error::kAccessDenied);
  kms_->SetChangeListener({});
}

// Names of condition keys match in any case, and JSON has two ways to write a letter.
INSTANTIATE_TEST_SUITE_P(Spellings, ClockTest,
                         ::testing::Values("aws:CurrentTime", "aws:currenttime",
                                           R"(aws:Current\u0054ime)"));

TEST_F(KmsTest, NamesThatDifferOnlyByCaseAreRefused) {
  const std::string key = MakeKey();
  const json twice = {{"dept", "x"}, {"Dept", "hr"}};
  EXPECT_EQ(Try(kCfo, "Encrypt",
                {{"KeyId", key}, {"Plaintext", "aGk="}, {"EncryptionContext", twice}}),
            "ValidationException");
  EXPECT_EQ(
      Try(kCfo, "Decrypt", {{"CiphertextBlob", "aGk="}, {"EncryptionContext", twice}}),
      "ValidationException");
  Must(kCfo, "TagResource",
       {{"KeyId", key}, {"Tags", {{{"TagKey", "dept"}, {"TagValue", "x"}}}}});
  EXPECT_EQ(Try(kCfo, "TagResource",
                {{"KeyId", key}, {"Tags", {{{"TagKey", "Dept"}, {"TagValue", "hr"}}}}}),
            "TagException");
}

TEST_F(KmsTest, AConstraintConstrains) {
  const std::string key = MakeKey();
  for (const json& constraints : {json{{"EncryptionContextEquals", json::object()}},
                                  json{{"EncryptionContextSubset", json::object()}}})
    EXPECT_EQ(Try(kCfo, "CreateGrant",
                  {{"KeyId", key},
                   {"GranteePrincipal", "user:uid:60002"},
                   {"Operations", {"Decrypt"}},
                   {"Constraints", constraints}}),
              "ValidationException");
}

TEST_F(KmsTest, WhoMayNotKnowOfAKeyLearnsNothingOfIt) {
  const std::string key = MakeKey();
  // A call that is refused for its words, before anybody asks for rights.
  EXPECT_EQ(Try(kNobody, "DescribeKey", {{"KeyId", key}, {"Bogus", 1}}),
            "ValidationException");
  const auto own = kms_->Call(By(kNobody), "audit", "LookupEvents", json::object());
  ASSERT_TRUE(own.ok()) << own.status().ToString();
  for (const json& event : (*own)["Events"]) {
    if (event["eventName"] != "DescribeKey") continue;
    EXPECT_EQ(event["resources"], json::array());
  }
}

TEST_F(KmsTest, ConditionsGivenByHandDoNotShowAKey) {
  const std::string key = MakeKey();
  const json policy = R"({"Statement": [{"Effect": "Allow", "Action": "kms:*",
    "Principal": "user:uid:60001"}, {"Effect": "Allow", "Principal": "everyone",
    "Action": ["kms:Decrypt", "kms:DescribeKey"],
    "Condition": {"StringEquals": {"kms:ViaService": "fs.keyfold"}}}]})";
  Must(kCfo, "PutKeyPolicy", {{"KeyId", key}, {"Policy", policy}});
  EXPECT_EQ(Try(kNobody, "Simulate",
                {{"Action", "kms:Decrypt"},
                 {"KeyId", key},
                 {"Conditions", {"kms:ViaService=fs.keyfold"}}},
                "iam"),
            kDenied);
}

TEST_F(KmsTest, RandomBytesAndDryRuns) {
  const std::string key = MakeKey();
  EXPECT_EQ(Try(kSysadmin, "GenerateRandom", {{"NumberOfBytes", 1025}}),
            "ValidationException");
  EXPECT_EQ(
      Try(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", "aGk="}, {"DryRun", true}}),
      "DryRunOperationException");
  EXPECT_EQ(Try(kAccounts, "Encrypt",
                {{"KeyId", key}, {"Plaintext", "aGk="}, {"DryRun", true}}),
            kDenied);
}

TEST_F(KmsTest, EachCallIsTimedHoweverItEnds) {
  const std::string key = MakeKey();
  const auto timed = [&](std::string_view operation) {
    uint64_t calls = 0;
    for (const auto& one : kms_->Figures().counts.durations)
      if (one.service == "kms" && one.operation == operation)
        for (const SharedCount& bucket : one.took->buckets) calls += bucket;
    return calls;
  };
  EXPECT_EQ(timed("Encrypt"), 0u);
  Must(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", "aGk="}});
  EXPECT_EQ(Try(kNobody, "Encrypt", {{"KeyId", key}, {"Plaintext", "aGk="}}), kDenied);
  EXPECT_EQ(Try(kCfo, "Encrypt", {{"KeyId", key}}), "ValidationException");
  EXPECT_EQ(timed("Encrypt"), 3u);
  EXPECT_EQ(timed("CreateKey"), 1u);
}

// Who administers by a group, and sends a long document while the group is taken away.
TEST_F(KmsTest, AGroupThatIsTakenAwayDoesNotApplyWhatWasBegunBefore) {
  constexpr uid_t kMember = 60005;
  const auto document = [](const char* groups, int roles) {
    std::string text = std::string(kIam) + "  \"uid:60005\": {groups: [" + groups +
                       "]}\ngroups: {admins: {policies: [AdministratorAccess]}}\n";
    if (roles > 0) text += "roles:\n";
    for (int i = 0; i < roles; ++i)
      text += "  r" + std::to_string(i) + ": {policies: [FilesFullAccess]}\n";
    return json{{"Document", text}};
  };
  for (int times = 0; times < 20; ++times) {
    Must(kRootUid, "iam", "ApplyIam", document("admins", 0));
    std::atomic<bool> ended{false};
    std::string outcome;
    std::thread member([&] {
      outcome = Try(kMember, "ApplyIam", document("admins", 6000), "iam");
      ended = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    Must(kRootUid, "iam", "ApplyIam", document("", 0));
    const bool was_first = ended;
    member.join();
    if (was_first) continue;  // too late to tell
    EXPECT_EQ(outcome, kDenied);
    EXPECT_EQ(Try(kMember, "ApplyIam", document("admins", 0), "iam"), kDenied);
    return;
  }
  GTEST_SKIP() << "the long document was never the later one";
}

}  // namespace
}  // namespace keyfold
