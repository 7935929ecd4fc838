// Do access keys and sessions stand for whom they were given to, as long as they last?
// The users are two that every Debian has: daemon (uid 1) and bin (uid 2).
#include "KmsFixture.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr uid_t kDaemon = 1, kBin = 2;
constexpr char kUsers[] = R"(
users:
  daemon: {policies: [OwnAccessKeys, Denials]}
  "uid:60003": {policies: [AdministratorAccess]}
  "uid:60004": {policies: [OwnAccessKeys]}
roles:
  auditor: {policies: [ConsoleReadOnlyAccess], trust: ["user:daemon", "user:uid:60004"]}
policies:
  OwnAccessKeys:
    Statement: [{Effect: Allow, Action: "iam:CreateAccessKey", Resource: "*"}]
  Denials:
    Statement: [{Effect: Deny, Action: "%", Resource: "*"}]
)";

class CredentialTest : public KmsTest {
 protected:
  void SetUp() override {
    KmsTest::SetUp();
    Deny("iam:CreateUser");
  }
  void Deny(const std::string& action) {
    std::string text = kUsers;
    text.replace(text.find('%'), 1, action);
    Must(kRootUid, "iam", "ApplyIam", {{"Document", text}});
  }
  json MakeAccessKey() {
    return Must(kDaemon, "iam", "CreateAccessKey", json::object())["AccessKey"];
  }
  json Assume(int64_t duration = 3600) {
    return Must(kDaemon, "iam", "AssumeRole",
                {{"RoleArn", "role:auditor"},
                 {"RoleSessionName", "year-end"},
                 {"DurationSeconds", duration}})["Credentials"];
  }
  // The error's name, or the secret's text.
  std::string Find(const std::string& id, const std::string& token = {}) {
    auto found = kms_->FindCredential(id, token);
    if (!found.ok()) return std::string(ErrorName(found.status().error()));
    caller_ = found->caller;
    const Bytes text = RevealSecret(found->secret);
    return {text.begin(), text.end()};
  }
  std::string TryIam(uid_t uid, const char* operation, const json& request) {
    return Try(uid, operation, request, "iam");
  }
  Caller caller_;
};

TEST_F(CredentialTest, AnAccessKeyIsItsUser) {
  const json key = MakeAccessKey();
  const std::string id = key["AccessKeyId"];
  EXPECT_EQ(id.size(), 20u);
  EXPECT_TRUE(id.starts_with("AKIA"));
  EXPECT_EQ(Find(id), key["SecretAccessKey"]);
  EXPECT_EQ(caller_.uid, kDaemon);
  EXPECT_EQ(caller_.access_key_id, id);
  EXPECT_TRUE(caller_.groups.has_value());
  const auto who = kms_->Call(caller_, "iam", "WhoAmI", json::object());
  ASSERT_TRUE(who.ok());
  EXPECT_EQ((*who)["UserName"], "daemon");
  EXPECT_EQ(Find("AKIAAAAAAAAAAAAAAAAA"), "UnrecognizedClientException");
  EXPECT_EQ(Find(id, "abc"), "UnrecognizedClientException");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(Find(id), key["SecretAccessKey"]);
}

TEST_F(CredentialTest, TheSecretIsInNoRecordAndNoRow) {
  const std::string secret = MakeAccessKey()["SecretAccessKey"];
  const json record = LastRecord();
  EXPECT_EQ(record.dump().find(secret), std::string::npos);
  EXPECT_EQ(record["responseElements"]["accessKey"]["userName"], "daemon");
  EXPECT_EQ(Must(kDaemon, "iam", "ListAccessKeys", json::object()).dump().find(secret),
            std::string::npos);
}

TEST_F(CredentialTest, ADisabledOrDeletedKeyIsUnknown) {
  const std::string id = MakeAccessKey()["AccessKeyId"];
  Must(kDaemon, "iam", "UpdateAccessKey",
       {{"AccessKeyId", id}, {"Status", "Inactive"}});
  EXPECT_EQ(Find(id), "UnrecognizedClientException");
  // To enable it takes a right; an administrator has it.
  EXPECT_EQ(
      TryIam(kDaemon, "UpdateAccessKey", {{"AccessKeyId", id}, {"Status", "Active"}}),
      "AccessDeniedException");
  Must(kSysadmin, "iam", "UpdateAccessKey",
       {{"AccessKeyId", id}, {"Status", "Active"}});
  EXPECT_NE(Find(id), "UnrecognizedClientException");
  Must(kDaemon, "iam", "DeleteAccessKey", {{"AccessKeyId", id}});
  EXPECT_EQ(Find(id), "UnrecognizedClientException");
  EXPECT_EQ(TryIam(kSysadmin, "DeleteAccessKey", {{"AccessKeyId", id}}),
            "NoSuchEntityException");
}

TEST_F(CredentialTest, NobodyTouchesAnothersWithoutTheRight) {
  const std::string id = MakeAccessKey()["AccessKeyId"];
  EXPECT_EQ(TryIam(kBin, "CreateAccessKey", json::object()), "AccessDeniedException");
  EXPECT_EQ(TryIam(kBin, "ListAccessKeys", {{"UserName", "daemon"}}),
            "AccessDeniedException");
  for (const std::string& given : {id, std::string("AKIANOTTHERE")}) {
    EXPECT_EQ(TryIam(kBin, "DeleteAccessKey", {{"AccessKeyId", given}}),
              "AccessDeniedException");
    EXPECT_EQ(TryIam(kBin, "UpdateAccessKey",
                     {{"AccessKeyId", given}, {"Status", "Inactive"}}),
              "AccessDeniedException");
  }
  // Users without a name have none; there are two at most.
  EXPECT_EQ(TryIam(kNobody, "CreateAccessKey", json::object()), "ValidationException");
  MakeAccessKey();
  EXPECT_EQ(TryIam(kDaemon, "CreateAccessKey", json::object()),
            "LimitExceededException");
}

TEST_F(CredentialTest, AnExplicitDenyBindsOnesOwn) {
  const std::string id = MakeAccessKey()["AccessKeyId"];
  Deny("iam:DeleteAccessKey");
  EXPECT_EQ(TryIam(kDaemon, "DeleteAccessKey", {{"AccessKeyId", id}}),
            "AccessDeniedException");
  Deny("sts:AssumeRole");
  EXPECT_EQ(TryIam(kDaemon, "AssumeRole", {{"RoleArn", "role:auditor"}}),
            "AccessDeniedException");
  Must(kDaemon, "iam", "DeleteAccessKey", {{"AccessKeyId", id}});
}

TEST_F(CredentialTest, ASessionIsTheRoleUntilItEnds) {
  const json given = Assume(900);
  const std::string id = given["AccessKeyId"], token = given["SessionToken"];
  EXPECT_EQ(Find(id, token), given["SecretAccessKey"]);
  EXPECT_EQ(caller_.uid, kDaemon);
  EXPECT_EQ(caller_.role, "auditor");
  EXPECT_EQ(caller_.session_name, "year-end");
  const auto who = kms_->Call(caller_, "iam", "WhoAmI", json::object());
  ASSERT_TRUE(who.ok());
  EXPECT_EQ((*who)["Arn"], "arn:aws:iam::000000000000:role/auditor");
  // Without its token, with another's, or with a changed one it is nothing.
  EXPECT_EQ(Find(id), "UnrecognizedClientException");
  EXPECT_EQ(Find(Assume()["AccessKeyId"], token), "UnrecognizedClientException");
  Bytes raw = *FromBase64(token);
  for (size_t i = 0; i < raw.size(); i += 7) {
    Bytes altered = raw;
    altered[i] ^= 1;
    EXPECT_EQ(Find(id, ToBase64(altered)), "UnrecognizedClientException") << i;
  }
  clock_.Advance(std::chrono::seconds(899));
  EXPECT_EQ(Find(id, token), given["SecretAccessKey"]);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(Find(id, token), "ExpiredTokenException");
}

TEST_F(CredentialTest, WhomARoleDoesNotTrustGetsNoSession) {
  EXPECT_EQ(TryIam(kBin, "AssumeRole", {{"RoleArn", "role:auditor"}}),
            "AccessDeniedException");
  EXPECT_EQ(TryIam(kDaemon, "AssumeRole", {{"RoleArn", "role:nobody"}}),
            "AccessDeniedException");
  EXPECT_EQ(TryIam(kNobody, "AssumeRole", {{"RoleArn", "role:auditor"}}),
            "ValidationException");
  for (const int64_t duration : {899, 43201})
    EXPECT_EQ(TryIam(kDaemon, "AssumeRole",
                     {{"RoleArn", "role:auditor"}, {"DurationSeconds", duration}}),
              "ValidationException");
  EXPECT_EQ(TryIam(kDaemon, "AssumeRole",
                   {{"RoleArn", "role:auditor"}, {"RoleSessionName", "a b"}}),
            "ValidationException");
}

}  // namespace
}  // namespace keyfold
