// Are documents read as they were meant, and mistakes named with their place?
#include <gtest/gtest.h>

#include "policy/parse/Parse.h"

namespace keyfold::policy {
namespace {

const std::string kAccount = "000000000000";
using List = std::vector<std::string>;

Document Read(const std::string& text, DocumentKind kind = DocumentKind::kKeyPolicy) {
  auto parsed = ParsePolicy(text, "key.yaml", kAccount, kind);
  EXPECT_TRUE(parsed.ok()) << parsed.status().ToString();
  return parsed.ok() ? *parsed : Document{"", "", {Statement()}};
}

std::string Mistake(const std::string& text,
                    DocumentKind kind = DocumentKind::kKeyPolicy) {
  auto parsed = ParsePolicy(text, "key.yaml", kAccount, kind);
  if (parsed.ok()) return "no mistake";
  EXPECT_EQ(parsed.status().error(), Error::kMalformedPolicyDocument);
  EXPECT_EQ(parsed.status().message().find('\n'), std::string::npos);
  return parsed.status().message();
}

TEST(PolicyTest, AwsJsonIsRead) {
  const Document document = Read(R"({
    "Version": "2012-10-17",
    "Id": "key-policy-1",
    "Statement": [
      {"Sid": "Enable IAM User Permissions", "Effect": "Allow",
       "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
       "Action": "kms:*", "Resource": "*"},
      {"Sid": "Allow use of the key", "Effect": "Allow",
       "Principal": {"AWS": ["arn:aws:iam::000000000000:user/cfo",
                             "arn:aws:iam::000000000000:role/auditor"]},
       "Action": ["kms:Encrypt", "kms:Decrypt"], "Resource": "*",
       "Condition": {"StringEquals": {"kms:ViaService": ["fs.keyfold"]},
                     "Bool": {"kms:GrantIsForAWSResource": true}}}
    ]
  })");
  EXPECT_EQ(document.id, "key-policy-1");
  ASSERT_EQ(document.statements.size(), 2u);
  EXPECT_EQ(document.statements[0].sid, "Enable IAM User Permissions");
  EXPECT_EQ(document.statements[0].effect, Effect::kAllow);
  EXPECT_EQ(document.statements[0].principals, List{RootArn(kAccount)});
  EXPECT_EQ(document.statements[1].principals,
            (List{UserArn(kAccount, "cfo"), RoleArn(kAccount, "auditor")}));
  EXPECT_EQ(document.statements[1].actions, (List{"kms:Encrypt", "kms:Decrypt"}));
  EXPECT_EQ(document.statements[1].conditions,
            (std::vector<Condition>{{"StringEquals", "kms:ViaService", {"fs.keyfold"}},
                                    {"Bool", "kms:GrantIsForAWSResource", {"true"}}}));
}

TEST(PolicyTest, AwsJsonMayBeIndentedByTabsAndTight) {
  EXPECT_EQ(Read("{\n\t\"Statement\":[{\n\t\t\"Effect\":\"Deny\",\n\t\t\"Principal\":"
                 "\"*\",\"Action\":\"kms:Decrypt\"}]\n}\n")
                .statements[0]
                .effect,
            Effect::kDeny);
}

TEST(PolicyTest, OperatorNullNeedsNoQuotes) {
  const std::string before =
      "Id: \"ü\"\r\nStatement: {Effect: Deny, Principal: account, Action: '*', "
      "Condition: {";
  EXPECT_EQ(Read(before + "Null: {'a:b': true}}}").statements[0].conditions,
            (std::vector<Condition>{{"Null", "a:b", {"true"}}}));
  EXPECT_EQ(Mistake(before + "null: {'a:b': true}}}"),
            "key.yaml:2:72: a key that is not plain text; is a bracket not closed?");
}

TEST(PolicyTest, EveryPrincipalFormBecomesAnArn) {
  struct Case {
    const char* form;
    List principals;
  };
  const Case cases[] = {
      {"user:cfo", {"arn:aws:iam::000000000000:user/cfo"}},
      {"[user:cfo, group:finance]",
       {"arn:aws:iam::000000000000:user/cfo",
        "arn:aws:iam::000000000000:group/finance"}},
      {"role:auditor", {"arn:aws:iam::000000000000:role/auditor"}},
      {"service:keyfold", {"arn:aws:iam::000000000000:service/keyfold"}},
      {"user:uid:1234", {"arn:aws:iam::000000000000:user/uid:1234"}},
      {"account", {"arn:aws:iam::000000000000:root"}},
      {"'000000000000'", {"arn:aws:iam::000000000000:root"}},
      {"000000000000", {"arn:aws:iam::000000000000:root"}},
      {"everyone", {"*"}},
      {"'*'", {"*"}},
      {"{AWS: '*'}", {"*"}},
      {"{AWS: ['000000000000', user:cfo]}",
       {"arn:aws:iam::000000000000:root", "arn:aws:iam::000000000000:user/cfo"}},
  };
  for (const Case& c : cases) {
    const std::string rest = std::string(": ") + c.form + ", Action: 'kms:*'}";
    EXPECT_EQ(
        Read("Statement: {Effect: Allow, Principal" + rest).statements[0].principals,
        c.principals);
    EXPECT_EQ(Read("Statement: {Effect: Deny, NotPrincipal" + rest)
                  .statements[0]
                  .not_principals,
              c.principals);
  }
}

TEST(PolicyTest, KeyPolicyMeansItsOwnKeyUnlessItSaysOtherwise) {
  EXPECT_EQ(Read("Statement: {Effect: Allow, Principal: account, Action: 'kms:*'}")
                .statements[0]
                .resources,
            List{"*"});
}

TEST(PolicyTest, IdentityPolicyHasResourcesAndNoPrincipal) {
  const Document document = Read(
      "Statement: {Effect: Allow, NotAction: 'iam:*', NotResource: 'arn:aws:x:::y'}",
      DocumentKind::kIdentityPolicy);
  EXPECT_EQ(document.statements[0].not_actions, List{"iam:*"});
  EXPECT_EQ(document.statements[0].not_resources, List{"arn:aws:x:::y"});
  EXPECT_TRUE(document.statements[0].resources.empty());
  EXPECT_EQ(Mistake("Statement: {Effect: Allow, Action: 'kms:*'}",
                    DocumentKind::kIdentityPolicy),
            "key.yaml:1:12: a statement without Resource; expected Resource or "
            "NotResource");
  EXPECT_EQ(Mistake("Statement:\n- Effect: Allow\n  Principal: user:cfo\n",
                    DocumentKind::kIdentityPolicy),
            "key.yaml:3:3: found \"Principal\"; a policy of users, groups and roles "
            "names no principal: it speaks of whom it is attached to");
}

struct MistakeCase {
  const char* text;
  const char* message;
};

TEST(PolicyTest, MistakesAreNamedWithTheirPlace) {
  const MistakeCase cases[] = {
      {"", "1:1: nothing; a document is expected"},
      {"Statement: []",
       "1:12: found an empty list; expected a statement or a list of statements"},
      {"Version: '2012-10-17'", "1:1: a policy document without Statement"},
      {"text",
       "1:1: found \"text\"; expected a policy document: a map with Version and "
       "Statement"},
      {"Version: 2012-10-18\nStatement: {}",
       "1:10: found \"2012-10-18\"; expected the policy language's version, "
       "\"2012-10-17\""},
      {"Statements: []",
       "1:1: found \"Statements\", which is no key of a policy document; did you mean "
       "\"Statement\"?"},
      {"Statement:\n- Effect: Allow\n  Acton: kms:Decrypt\n",
       "3:3: found \"Acton\", which is no key of a statement; did you mean "
       "\"Action\"?"},
      {"Statement:\n- Comment: x\n",
       "2:3: found \"Comment\", which is no key of a statement; expected Sid, Effect, "
       "Principal, NotPrincipal, Action, NotAction, Resource, NotResource or "
       "Condition"},
      {"Statement:\n- Effect: allow\n",
       "2:11: found \"allow\"; expected Allow or Deny"},
      {"Statement: [[]]", "1:13: found an empty list; expected a statement: a map"},
      {"Statement: {Principal: account, Action: 'kms:*'}",
       "1:12: a statement without Effect; expected Allow or Deny"},
      {"Statement: {Effect: Allow, Action: 'kms:*'}",
       "1:12: a statement without Principal; expected Principal or NotPrincipal"},
      {"Statement: {Effect: Allow, Principal: account}",
       "1:12: a statement without Action; expected Action or NotAction"},
      {"Statement: {Effect: Deny, Principal: account, NotPrincipal: account, Action: "
       "'kms:*'}",
       "1:12: a statement with both Principal and NotPrincipal; expected one of them"},
      {"Statement: {Effect: Deny, Principal: account, Action: '*', NotAction: 'kms:*'}",
       "1:12: a statement with both Action and NotAction; expected one of them"},
      {"Statement: {Effect: Allow, NotPrincipal: user:cfo, Action: 'kms:*'}",
       "1:12: NotPrincipal in a statement that allows; expected Principal, or Effect: "
       "Deny"},
      {"Statement: {Effect: Allow, Principal: [], Action: 'kms:*'}",
       "1:39: found an empty list; expected a principal such as user:cfo, or a list of "
       "principals"},
      {"Statement: {Effect: Allow, Principal: cfo, Action: 'kms:*'}",
       "1:39: found \"cfo\", which is no principal; expected user:NAME, group:NAME, "
       "role:NAME, account, everyone or an ARN of them"},
      {"Statement: {Effect: Allow, Principal: {Service: fs.keyfold}, Action: 'kms:*'}",
       "1:40: found principals of kind \"Service\"; expected AWS, the only kind there "
       "is "
       "here"},
      {"Statement: {Effect: Allow, Principal: account, Action: Decrypt}",
       "1:56: found \"Decrypt\"; expected an action such as kms:Decrypt, or a list"},
      {"Statement: {Effect: Allow, Principal: account, Action: {kms: Decrypt}}",
       "1:56: found a map; expected an action such as kms:Decrypt, or a list"},
      {"Statement: {Effect: Allow, Principal: account, Action: ['kms:*', ~]}",
       "1:66: found an empty value; expected an action such as kms:Decrypt, or a list"},
      {"Statement: {Effect: Allow, Principal: account, Action: 'kms:*', Resource: key}",
       "1:75: found \"key\"; expected \"*\" or an ARN, or a list of them"},
      {"Statement: {Effect: Allow, Principal: account, Action: 'kms:*', Resource: "
       "'arn:aws:kms:::key/${aws:username}'}",
       "1:75: found \"arn:aws:kms:::key/${aws:username}\"; policy variables are not "
       "supported"},
      {"Statement:\n- Sid: A\n  Effect: Allow\n  Principal: account\n  Action: "
       "'kms:*'\n"
       "- Sid: A\n  Effect: Allow\n  Principal: account\n  Action: 'kms:*'\n",
       "6:3: a second statement with the Sid \"A\""},
      {"Statement: {Effect: Allow, Effect: Deny}",
       "1:28: the key \"Effect\" a second time"},
      {"Statement: {Effect: Allow, Condition: {IpAddress: {'aws:SourceIp': "
       "10.0.0.0/8}}}",
       "1:40: found \"IpAddress\", which is no condition operator; expected one such "
       "as "
       "StringEquals, StringLike, Bool, NumericLessThan, DateGreaterThan, ArnLike or "
       "Null"},
      {"Statement: {Effect: Allow, Condition: {Bool: {'aws:x': maybe}}}",
       "1:56: found \"maybe\"; expected true or false, or a list of such values"},
      {"Statement: {Effect: Allow, Condition: {NumericLessThan: {'aws:x': ten}}}",
       "1:67: found \"ten\"; expected a number, or a list of such values"},
      {"Statement: {Effect: Allow, Condition: {DateLessThan: {'aws:x': soon}}}",
       "1:64: found \"soon\"; expected a date such as 2026-01-31T12:00:00Z, or a list "
       "of "
       "such values"},
      {"Statement: {Effect: Allow, Condition: {StringEquals: {ViaService: fs}}}",
       "1:55: found \"ViaService\"; expected a condition key such as kms:ViaService"},
      {"Statement: {Effect: Allow, Condition: {StringEquals: fs}}",
       "1:54: found \"fs\"; expected a map of condition keys, such as kms:ViaService"},
      {"Statement: {Effect: Allow, Condition: {StringEquals: {'aws:username': "
       "'${aws:x}'}}}",
       "1:71: found \"${aws:x}\"; policy variables are not supported"},
  };
  for (const MistakeCase& c : cases)
    EXPECT_EQ(Mistake(c.text), std::string("key.yaml:") + c.message) << c.text;
}

TEST(PolicyTest, ConditionsAboutPrincipalsKnowShortForms) {
  const Document document = Read(R"(
Statement:
  Effect: Allow
  Principal: everyone
  Action: kms:CreateGrant
  Condition:
    StringEquals: {kms:GranteePrincipal: [user:accounts, "arn:aws:iam::000000000000:user/cfo"]}
    ArnLike: {aws:principalarn: "role:audit-*"}
    StringNotEquals: {kms:RetiringPrincipal: [account, accounts, "*"]}
    "Null": {kms:GranteePrincipal: false}
    StringLike: {aws:username: "user:accounts"})");
  const auto& conditions = document.statements[0].conditions;
  ASSERT_EQ(conditions.size(), 5u);
  EXPECT_EQ(conditions[0].values, List({"arn:aws:iam::000000000000:user/accounts",
                                        "arn:aws:iam::000000000000:user/cfo"}));
  EXPECT_EQ(conditions[1].values, List({"arn:aws:iam::000000000000:role/audit-*"}));
  EXPECT_EQ(conditions[2].values,
            List({"arn:aws:iam::000000000000:root", "accounts", "*"}));
  EXPECT_EQ(conditions[3].values, List({"false"}));
  EXPECT_EQ(conditions[4].values, List({"user:accounts"}));
}

TEST(PolicyTest, KmsActionsMustExist) {
  const auto mistake = [](const std::string& action) {
    return Mistake("Statement: {Effect: Deny, Principal: account, Action: '" + action +
                   "'}");
  };
  EXPECT_EQ(
      mistake("kms:Decrpyt"),
      "key.yaml:1:55: found \"kms:Decrpyt\", which is no KMS action; did you mean "
      "\"kms:Decrypt\"?");
  EXPECT_EQ(mistake("KMS:Read*"),
            "key.yaml:1:55: found \"KMS:Read*\", which is no KMS action; expected one "
            "such as kms:Decrypt");
  for (const char* action : {"kms:*", "*", "kms:reencrypt*", "KMS:Decrypt",
                             "kms:De?rypt", "kms:Sign", "s3:GetObject", "fs:GetFile"})
    EXPECT_EQ(mistake(action), "no mistake") << action;
}

TEST(PolicyTest, PrincipalsThatNameNobodyAreRefused) {
  for (const char* text :
       {"user:", "user:*", "user:a?", "user:a/b", "group:", "service:other",
        "machine:x", "arn:aws:iam::000000000000:user/*",
        "arn:aws:iam::000000000000:user/", "arn:aws:iam::111122223333:root",
        "111122223333", "arn:aws:iam::000000000000:group",
        "arn:aws:sts::000000000000:assumed-role/a/b", "arn:aws:iam::*:user/cfo",
        "Account", "user", "arn:"})
    EXPECT_FALSE(ParsePrincipal(text, kAccount).ok()) << text;
}

TEST(PolicyTest, ForeignTextInMessagesIsShortAndPlain) {
  const std::string message = Mistake("\"" + std::string(500, 'x') + "\\e[2J\\n\": {}");
  EXPECT_LT(message.size(), 250u);
  EXPECT_EQ(Mistake("\"a\\e[2J\\n\\rb\": {}").substr(0, 36),
            "key.yaml:1:1: found \"a?[2J??b\", whic");
}

TEST(PolicyTest, JsonReadsBackEqual) {
  const Document document = Read(R"(
Version: "2012-10-17"
Id: everything
Statement:
- {Sid: One, Effect: Allow, Principal: [user:cfo, everyone], Action: "kms:*"}
- {Effect: Deny, NotPrincipal: account, NotAction: ["kms:Get*", "iam:*"],
   NotResource: "arn:aws:kms:*:*:key/ \"quoted\" \\ ü",
   Condition: {StringEquals: {"a:b": ["1", "~"], "a:c": "null"}, Bool: {"a:b": true}}}
)");
  const std::string json = ToJson(document);
  EXPECT_EQ(Read(json), document) << json;
}

TEST(PolicyTest, JsonIsAwsShaped) {
  EXPECT_EQ(
      ToJson(Read("Statement: {Sid: S, Effect: Allow, Principal: account, Action: "
                  "[kms:Decrypt], Condition: {Null: {'a:b': [true]}}}")),
      R"({
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "S",
      "Effect": "Allow",
      "Principal": {
        "AWS": "arn:aws:iam::000000000000:root"
      },
      "Action": "kms:Decrypt",
      "Resource": "*",
      "Condition": {
        "Null": {
          "a:b": "true"
        }
      }
    }
  ]
})");
}

}  // namespace
}  // namespace keyfold::policy
