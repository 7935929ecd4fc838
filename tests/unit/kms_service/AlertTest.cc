// Does a rule raise what it says, once; and are keys judged by what they are?
#include "KmsFixture.h"
#include "kms/service/AlertEngine.h"
#include "kms/service/Compliance.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using std::chrono::seconds;

policy::AlertRules Parse(const std::string& text) {
  auto rules = policy::ParseAlertRules(text, "rules", "000000000000");
  EXPECT_TRUE(rules.ok()) << rules.status().ToString();
  return rules.ok() ? *rules : policy::AlertRules{};
}

class AlertEngineTest : public testing::Test {
 protected:
  static json Record(const std::string& event, const std::string& error = "",
                     const std::string& user = "cfo") {
    json record = {
        {"eventName", event},
        {"eventSource", "kms.amazonaws.com"},
        {"userIdentity",
         {{"userName", user}, {"arn", "arn:aws:iam::000000000000:user/" + user}}},
        {"resources", {{{"ARN", "arn:aws:kms:local-1:000000000000:key/1234"}}}}};
    if (!error.empty()) record["errorCode"] = error;
    return record;
  }
  // The names of what a record raises.
  std::string Raised(const json& record) {
    std::string names;
    for (const auto& raised : engine_.Judge(record, now_)) names += raised.name + ";";
    return names;
  }

  TimePoint now_{std::chrono::milliseconds(1767225600000)};
  AlertEngine engine_{[](std::string_view id) {
    return id == "1234" ? std::set<std::string>{"alias/cfo"} : std::set<std::string>{};
  }};
};

TEST_F(AlertEngineTest, ManyRefusalsAreRaisedOnce) {
  const json refusal = Record("Decrypt", "AccessDeniedException");
  for (int i = 1; i < 10; ++i) EXPECT_EQ(Raised(refusal), "") << i;
  EXPECT_EQ(Raised(refusal), "ManyRefusals;");
  for (int i = 0; i < 100; ++i) {
    now_ += seconds(1);
    EXPECT_EQ(Raised(refusal), "") << i;
  }
  // Somebody else's count for themselves.
  EXPECT_EQ(Raised(Record("Decrypt", "AccessDeniedException", "other")), "");
  // Who never stops is told of again after an hour; who paused at once.
  std::string later;
  for (int i = 0; i < 3600; ++i) {
    now_ += seconds(1);
    later += Raised(refusal);
  }
  EXPECT_EQ(later, "ManyRefusals;");
  now_ += seconds(61);
  for (int i = 1; i < 10; ++i) EXPECT_EQ(Raised(refusal), "");
  EXPECT_EQ(Raised(refusal), "ManyRefusals;");
}

TEST_F(AlertEngineTest, TheBuiltInRulesKnowChangesAndDamage) {
  json change = Record("DisableKey");
  EXPECT_EQ(Raised(change), "");  // a dry run, say
  change["additionalEventData"] = {{"keyStoreSequence", 7u}};
  EXPECT_EQ(Raised(change), "KeyDisabled;");
  EXPECT_EQ(Raised(Record("ReadFile", "IntegrityFailure")), "IntegrityFailure;");
  json wrong = Record("OpenFile", "InvalidCiphertextException");
  EXPECT_EQ(Raised(wrong), "");
  wrong["eventSource"] = "fs.keyfold";
  EXPECT_EQ(Raised(wrong), "IntegrityFailure;");
  wrong["eventSource"] = "alerts.keyfold";
  EXPECT_EQ(Raised(wrong), "");
}

TEST_F(AlertEngineTest, OwnRulesMatchEachMember) {
  EXPECT_FALSE(engine_.WatchesUses());
  engine_.Use(Parse(R"(
rules:
  - {name: ByAlias, when: {key: alias/c*, event: Decrypt, error: none}}
  - {name: ByUser, when: {principal: "user:accounts", event: [Encrypt, "Re*"]}}
  - {name: BySource, when: {source: fs.keyfold}}
  - {name: KeyDisabled, when: {event: Never}}
off: [ManyRefusals, IntegrityFailure]
)"));
  EXPECT_TRUE(engine_.WatchesUses());
  EXPECT_EQ(Raised(Record("Decrypt")), "ByAlias;");
  EXPECT_EQ(Raised(Record("Decrypt", "AccessDeniedException")), "");
  EXPECT_EQ(Raised(Record("Encrypt", "", "accounts")), "ByUser;");
  EXPECT_EQ(Raised(Record("ReEncrypt", "DisabledException", "accounts")), "ByUser;");
  EXPECT_EQ(Raised(Record("Encrypt")), "");
  json file = Record("OpenFile");
  file["eventSource"] = "fs.keyfold";
  EXPECT_EQ(Raised(file), "BySource;");
  json change = Record("DisableKey");
  change["additionalEventData"] = {{"keyStoreSequence", 7u}};
  EXPECT_EQ(Raised(change), "");  // replaced by the rule of the same name
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(Raised(Record("Encrypt", "AccessDeniedException")), "");
}

TEST_F(AlertEngineTest, CountsPerKeyAndAll) {
  engine_.Use(Parse(R"(
rules:
  - {name: PerKey, when: {event: Decrypt}, count: 2, within: 10s, per: key}
  - {name: All, when: {event: Decrypt}, count: 3, within: 10s, per: all}
)"));
  json other = Record("Decrypt");
  other["resources"][0]["ARN"] = "arn:aws:kms:local-1:000000000000:key/9";
  EXPECT_EQ(Raised(Record("Decrypt")), "");
  EXPECT_EQ(Raised(other), "");
  EXPECT_EQ(Raised(Record("Decrypt", "", "else")), "PerKey;All;");
}

TEST_F(AlertEngineTest, MessagesNameWhatHappened) {
  engine_.Use(Parse(R"(
rules:
  - {name: Told, when: {event: Encrypt}, message: "{user}/{event}/{error}/{message}"}
)"));
  json record = Record("Encrypt", "DisabledException");
  record["errorMessage"] = "{user} is off";
  const auto raised = engine_.Judge(record, now_);
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_EQ(raised[0].message, "cfo/Encrypt/DisabledException/{user} is off");
  ASSERT_EQ(raised[0].actions.size(), 1u);
  EXPECT_EQ(raised[0].actions[0].kind, policy::AlertAction::Kind::kJournal);
}

class AlertTest : public KmsTest {
 protected:
  void Listen() {
    kms_->SetAlertSink([this](const Alert& alert) { told_.push_back(alert.line); });
  }
  std::string Compliance(const std::string& rule, const std::string& resource) {
    const json answer = Must(kRootUid, "audit", "DescribeCompliance", json::object());
    for (const json& finding : answer["Findings"])
      if (finding["Rule"] == rule &&
          finding["Resource"].get<std::string>().find(resource) != std::string::npos)
        return finding["Compliance"].get<std::string>() + ": " +
               finding["Reason"].get<std::string>();
    return "";
  }
  static bool Has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  std::vector<std::string> told_;
};

TEST_F(AlertTest, RulesAreAppliedKeptAndShown) {
  const std::string rules = "rules:\n  - {name: Own, when: {event: CreateKey}}\n";
  EXPECT_EQ(Try(kNobody, "ApplyAlertRules", {{"Document", rules}}, "audit"),
            "AccessDeniedException");
  const auto bad = Call(kRootUid, "ApplyAlertRules",
                        {{"Document", "rules:\n  - {name: Own, wen: 1}\n"},
                         {"DocumentName", "alerts.yaml"}},
                        "audit");
  EXPECT_TRUE(Has(bad.status().message(), "alerts.yaml:2:")) << bad.status().message();
  EXPECT_TRUE(Has(bad.status().message(), "did you mean \"when\"?"));
  Must(kRootUid, "audit", "ApplyAlertRules", {{"Document", rules}});
  Listen();
  MakeKey();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_TRUE(Has(told_[0], "Own: uid:60001: CreateKey")) << told_[0];
  ASSERT_TRUE(Reopen().ok());
  Listen();
  MakeKey();
  EXPECT_EQ(told_.size(), 2u);
  EXPECT_EQ(Must(kRootUid, "audit", "GetAlertRules", json::object())["Document"],
            rules);
  const json tested = Must(kRootUid, "audit", "TestAlertRules", json::object());
  EXPECT_EQ(tested["Raised"], 4);  // both keys, IAM and the rules
}

TEST_F(AlertTest, WhoIsNotRootHasProgramsRunAsThemselvesOnly) {
  const auto rules = [](const std::string& user) {
    return json{{"Document",
                 "rules:\n  - name: Own\n    when: {event: CreateKey}\n    actions:\n"
                 "      - {command: [/bin/true]" +
                     user + "}\n"}};
  };
  EXPECT_EQ(Try(kSysadmin, "ApplyAlertRules", rules(", user: root"), "audit"),
            "AccessDeniedException");
  EXPECT_EQ(Try(kSysadmin, "ApplyAlertRules", rules(""), "audit"), "ok");
  std::string user;
  kms_->SetAlertSink([&](const Alert& alert) {
    for (const auto& action : alert.actions) user = action.user;
  });
  MakeKey();
  EXPECT_EQ(user, "uid:60003");
}

TEST_F(AlertTest, CommandsThatTheStoreBroughtAreMarked) {
  Must(kRootUid, "audit", "ApplyAlertRules",
       {{"Document",
         "rules:\n  - name: Own\n    when: {event: CreateKey}\n    actions:\n"
         "      - {command: [/bin/true]}\n"}});
  const auto stored = [this] {
    return kms_->AlertRules().rules.at(0).actions.at(0).stored;
  };
  EXPECT_FALSE(stored());
  ASSERT_TRUE(Reopen().ok());
  EXPECT_TRUE(stored());
  std::vector<bool> told;
  kms_->SetAlertSink([&](const Alert& alert) {
    for (const auto& action : alert.actions) told.push_back(action.stored);
  });
  MakeKey();
  EXPECT_EQ(told, std::vector<bool>{true});
}

TEST_F(AlertTest, TheAddressesOfWebhooksAreNotOnRecord) {
  const json rules = {
      {"Document",
       "rules:\n  - name: Own\n    when: {event: CreateKey}\n    actions:\n"
       "      - {webhook: \"https://alerts.example/geheim\"}\n"}};
  Must(kRootUid, "audit", "ApplyAlertRules", rules);
  Must(kRootUid, "audit", "TestAlertRules", rules);
  EXPECT_EQ(Try(kNobody, "ApplyAlertRules", rules, "audit"), "AccessDeniedException");
  EXPECT_EQ(Try(kRootUid, "ApplyAlertRules",
                {{"Document", "rules: geheim"}, {"Unknown", 1}}, "audit"),
            "ValidationException");
  const json found = Must(kRootUid, "audit", "LookupEvents", json::object());
  EXPECT_FALSE(Has(found.dump(), "geheim"));
  size_t seen = 0;
  for (const json& event : found["Events"])
    if (event["eventName"] == "ApplyAlertRules" && !event.contains("errorCode"))
      seen += event["requestParameters"]["document"]["sha256"].is_string();
  EXPECT_EQ(seen, 1u);
}

TEST_F(AlertTest, WantOfMemoryInAnAlertUndoesNothing) {
  kms_->SetAlertSink([](const Alert&) { throw std::bad_alloc(); });
  const std::string key = MakeKey();
  EXPECT_EQ(Try(kCfo, "DisableKey", {{"KeyId", key}}), "ok");
  EXPECT_EQ(State(key), "Disabled");
}

TEST_F(AlertTest, AnAlertThatWasNotDeliveredIsOnRecord) {
  Must(kRootUid, "audit", "ApplyAlertRules",
       {{"Document", "rules:\n  - {name: Any, when: {error: any}}\n"}});
  Listen();
  kms_->RecordUndelivered("Any", "webhook http://x", {Error::kSystem, "it is down"});
  EXPECT_TRUE(told_.empty()) << "an alert of an alert";
  const json found = Must(kRootUid, "audit", "LookupEvents", {{"MaxResults", 5}});
  bool seen = false;
  for (const json& event : found["Events"])
    if (event["eventName"] == "DeliverAlert")
      seen = event["errorMessage"] == "it is down" &&
             event["requestParameters"]["target"] == "webhook http://x";
  EXPECT_TRUE(seen);
}

TEST_F(AlertTest, KeysAreJudgedByWhatTheyAre) {
  const std::string key = MakeKey();
  EXPECT_TRUE(Has(Compliance("key-rotation-enabled", key), "NON_COMPLIANT"));
  Must(kCfo, "EnableKeyRotation", {{"KeyId", key}});
  EXPECT_EQ(Compliance("key-rotation-enabled", key),
            "COMPLIANT: it rotates every 365 days");
  EXPECT_TRUE(
      Has(Compliance("key-policy-not-open", key), "COMPLIANT: its policy names"));
  EXPECT_EQ(Compliance("restricted-key-closed", key), "");
  Must(kCfo, "TagResource",
       {{"KeyId", key}, {"Tags", {{{"TagKey", "restricted"}, {"TagValue", "yes"}}}}});
  EXPECT_TRUE(Has(Compliance("restricted-key-closed", key),
                  "NON_COMPLIANT: it is tagged restricted, and its policy lets every "
                  "administrator"));
  std::string open = kPolicy;
  open += "  - {Effect: Allow, Principal: everyone, Action: \"kms:Decrypt\"}\n";
  Must(kCfo, "PutKeyPolicy", {{"KeyId", key}, {"Policy", open}});
  EXPECT_EQ(Compliance("key-policy-not-open", key),
            "NON_COMPLIANT: its policy lets everyone use it");

  // A file was asked for; then its key is disabled.
  EXPECT_TRUE(Has(Compliance("key-of-files-enabled", key), "COMPLIANT: it is enabled"));
  ASSERT_TRUE(
      kms_->Authorize(By(kCfo), key, {}, {"OpenFile", "/a", KeyUse::kRead}).ok());
  Must(kCfo, "DisableKey", {{"KeyId", key}});
  EXPECT_TRUE(Has(Compliance("key-of-files-enabled", key),
                  "NON_COMPLIANT: it is Disabled, and a file under it was asked for at "
                  "2026-01-01T00:00:00Z"));
  ASSERT_TRUE(Reopen().ok());
  EXPECT_TRUE(Has(Compliance("key-of-files-enabled", key), "NON_COMPLIANT"));
  clock_.Advance(days(91));
  EXPECT_TRUE(Has(Compliance("key-of-files-enabled", key), "COMPLIANT: no file"));

  EXPECT_TRUE(Has(Compliance("key-not-scheduled-for-deletion", key), "COMPLIANT"));
  Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", key}});
  EXPECT_TRUE(Has(Compliance("key-not-scheduled-for-deletion", key),
                  "NON_COMPLIANT: it is destroyed at 2026-05-02"));
}

TEST_F(AlertTest, AGrantThatNobodyUsesIsFound) {
  const std::string key = MakeKey();
  const json made = Must(kCfo, "CreateGrant",
                         {{"KeyId", key},
                          {"GranteePrincipal", "user:uid:60004"},
                          {"Operations", {"Encrypt"}}});
  const std::string grant = made["GrantId"];
  EXPECT_TRUE(Has(Compliance("grant-in-use", grant), "COMPLIANT"));
  clock_.Advance(days(89));
  Must(kNobody, "Encrypt", {{"KeyId", key}, {"Plaintext", "YQ=="}});
  clock_.Advance(days(89));
  EXPECT_TRUE(Has(Compliance("grant-in-use", grant),
                  "COMPLIANT: made or used since 2026-03-31"))
      << Compliance("grant-in-use", grant);
  clock_.Advance(days(2));
  EXPECT_TRUE(
      Has(Compliance("grant-in-use", grant), "NON_COMPLIANT: nobody used it since"));
}

TEST_F(AlertTest, DecryptionCountsAsAGrantsUse) {
  const std::string key = MakeKey();
  const auto grant = [&](const char* operation) -> std::string {
    return Must(kCfo, "CreateGrant",
                {{"KeyId", key},
                 {"GranteePrincipal", "user:uid:60004"},
                 {"Operations", {operation}}})["GrantId"];
  };
  const std::string decrypt = grant("Decrypt"), from = grant("ReEncryptFrom"),
                    to = grant("ReEncryptTo");
  const json blob =
      Must(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", "YQ=="}})["CiphertextBlob"];
  clock_.Advance(days(89));
  Must(kNobody, "Decrypt", {{"CiphertextBlob", blob}});
  Must(kNobody, "ReEncrypt", {{"CiphertextBlob", blob}, {"DestinationKeyId", key}});
  clock_.Advance(days(89));
  for (const std::string& one : {decrypt, from, to})
    EXPECT_TRUE(Has(Compliance("grant-in-use", one),
                    "COMPLIANT: made or used since 2026-03-31"))
        << Compliance("grant-in-use", one);
}

TEST_F(AlertTest, WhatIsGoneIsForgotten) {
  const auto noted = [this] {
    kms_.reset();
    std::string text;
    {
      auto store = OpenSqliteKeyStore(folder_ + "/keys.db");
      const auto rows = (*store)->ReadAll(Table::kSettings);
      for (const Row& row : *rows)
        if (row.id == "activity") text = row.body;
    }
    EXPECT_TRUE(Open().ok());
    return text;
  };
  const std::string key = MakeKey(), other = MakeKey();
  const std::string grant = Must(kCfo, "CreateGrant",
                                 {{"KeyId", key},
                                  {"GranteePrincipal", "user:uid:60004"},
                                  {"Operations", {"Encrypt"}}})["GrantId"];
  Must(kNobody, "Encrypt", {{"KeyId", key}, {"Plaintext", "YQ=="}});
  for (const std::string& one : {key, other})
    ASSERT_TRUE(
        kms_->Authorize(By(kCfo), one, {}, {"OpenFile", "/a", KeyUse::kRead}).ok());
  std::string text = noted();
  EXPECT_TRUE(Has(text, grant) && Has(text, key) && Has(text, other)) << text;
  Must(kCfo, "RevokeGrant", {{"KeyId", key}, {"GrantId", grant}});
  Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", other}, {"PendingWindowInDays", 7}});
  clock_.Advance(days(8));
  ASSERT_TRUE(kms_->Tick().ok());
  text = noted();
  EXPECT_TRUE(!Has(text, grant) && Has(text, key) && !Has(text, other)) << text;
}

TEST_F(AlertTest, AChangeOfComplianceIsToldOnce) {
  const std::string key = MakeKey();
  ASSERT_TRUE(Reopen().ok());
  Listen();
  ASSERT_TRUE(kms_->Tick().ok());
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_TRUE(Has(told_[0], "ComplianceChanged: 1 changed: key-rotation-enabled"))
      << told_[0];
  ASSERT_TRUE(Reopen().ok());
  Listen();
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(told_.size(), 1u);
  Must(kCfo, "EnableKeyRotation", {{"KeyId", key}});
  ASSERT_TRUE(Reopen().ok());
  Listen();
  ASSERT_TRUE(kms_->Tick().ok());
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_TRUE(Has(told_[1], "is COMPLIANT: it rotates")) << told_[1];
}

TEST_F(AlertTest, DigestsCloseEachRunAndHour) {
  const auto signed_records = [&] {
    const json found = Must(kRootUid, "audit", "LookupEvents", json::object());
    std::string names;
    for (const json& event : found["Events"])
      if (event.contains("additionalEventData") &&
          event["additionalEventData"].contains("digest"))
        names += event["eventName"].get<std::string>() + ";";
    return names;
  };
  EXPECT_EQ(signed_records(), "");
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(signed_records(), "");
  clock_.Advance(hours(1));
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(signed_records(), "SignDigest;");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(signed_records(), "SignDigest;CloseStore;");
  // An idle store's log does not grow.
  ASSERT_TRUE(kms_->Tick().ok());
  clock_.Advance(hours(1));
  ASSERT_TRUE(kms_->Tick().ok());
  const json before = Must(kRootUid, "audit", "VerifyLog", json::object());
  clock_.Advance(hours(5));
  ASSERT_TRUE(kms_->Tick().ok());  // the look itself is signed
  clock_.Advance(hours(5));
  ASSERT_TRUE(kms_->Tick().ok());
  const json after = Must(kRootUid, "audit", "VerifyLog", json::object());
  EXPECT_EQ(after["Records"].get<int>(), before["Records"].get<int>() + 2);
  EXPECT_EQ(after["Digests"].get<int>(), 4);
}

TEST_F(AlertTest, AStoreThatWasKilledIsSignedWhenItOpens) {
  MakeKey();
  Snapshot("killed");
  kms_.reset();
  Restore("killed", "audit.log");
  Restore("killed", "keys.db");
  ASSERT_TRUE(Open().ok());
  const json found = Must(kRootUid, "audit", "LookupEvents", {{"MaxResults", 1}});
  EXPECT_EQ(found["Events"].back()["eventName"], "SignDigest");
  EXPECT_EQ(Try(kRootUid, "VerifyLog", json::object(), "audit"), "ok");
}

}  // namespace
}  // namespace keyfold
