// Are the rules of alerts read as they are meant, and each mistake told with its place?
#include <gtest/gtest.h>

#include "policy/parse/Parse.h"

namespace keyfold::policy {
namespace {

using std::chrono::seconds;

std::string Mistake(const std::string& text) {
  const auto rules = ParseAlertRules(text, "alerts.yaml", "000000000000");
  if (rules.ok()) return "";
  EXPECT_EQ(rules.status().error(), Error::kMalformedPolicyDocument);
  return rules.status().message();
}

TEST(AlertRulesTest, EveryMemberIsRead) {
  const auto rules = ParseAlertRules(R"(
rules:
  - name: Payroll
    when:
      - {event: [OpenFile, Decrypt], key: alias/cfo, error: none}
      - {principal: "user:accounts", source: fs.keyfold, error: [AccessDeniedException]}
    count: 3
    within: 5m
    per: key
    message: "{user}"
    actions:
      - journal
      - {command: [/usr/bin/page, --now], user: nobody, timeout: 20s}
      - {webhook: "https://alerts.example/x", timeout: 3s, attempts: 2}
off: [IamChanged]
compliance: {import-expiry-days: 7, grant-unused-days: 30, restricted-tag: secret}
)",
                                     "alerts.yaml", "000000000000");
  ASSERT_TRUE(rules.ok()) << rules.status().ToString();
  const AlertRule& rule = rules->rules.at(0);
  EXPECT_EQ(rule.name, "Payroll");
  EXPECT_EQ(rule.when.at(0).events, (std::vector<std::string>{"OpenFile", "Decrypt"}));
  EXPECT_EQ(rule.when.at(0).outcome, AlertMatch::Outcome::kSuccess);
  EXPECT_EQ(rule.when.at(1).principals,
            (std::vector<std::string>{"arn:aws:iam::000000000000:user/accounts"}));
  EXPECT_EQ(rule.when.at(1).outcome, AlertMatch::Outcome::kFailure);
  EXPECT_EQ(rule.count, 3u);
  EXPECT_EQ(rule.within, seconds(300));
  EXPECT_EQ(rule.per, AlertPer::kKey);
  ASSERT_EQ(rule.actions.size(), 3u);
  EXPECT_EQ(rule.actions[1].command,
            (std::vector<std::string>{"/usr/bin/page", "--now"}));
  EXPECT_EQ(rule.actions[1].timeout, seconds(20));
  EXPECT_EQ(rule.actions[2].url, "https://alerts.example/x");
  EXPECT_EQ(rule.actions[2].attempts, 2u);
  EXPECT_EQ(rules->off, std::vector<std::string>{"IamChanged"});
  EXPECT_EQ(rules->compliance, (ComplianceLimits{7, 30, "secret"}));
}

TEST(AlertRulesTest, NothingIsFine) {
  EXPECT_EQ(Mistake("{}"), "");
  EXPECT_EQ(Mistake("rules:\n"), "");
}

TEST(AlertRulesTest, MistakesAreToldWithTheirPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"rule: []",
       "alerts.yaml:1:1: found \"rule\", which is no key of the alert rules; "
       "did you mean \"rules\"?"},
      {"rules:\n  - {when: {event: X}}", "alerts.yaml:2:5: a rule needs a name"},
      {"rules:\n  - {name: A}", "needs when"},
      {"rules:\n  - {name: A, when: {}}", "what to look for"},
      {"rules:\n  - {name: A, when: {event: X}, count: 0}", "a number, 1 to 10000"},
      {"rules:\n  - {name: A, when: {event: X}, within: 5}", "a time such as 30s"},
      {"rules:\n  - {name: A, when: {event: X}, within: 30h}", "a time such as 30s"},
      {"rules:\n  - {name: A, when: {event: X}, per: user}", "principal, key or all"},
      {"rules:\n  - {name: A, when: {evnt: X}}", "did you mean \"event\"?"},
      {"rules:\n  - {name: A, when: {principal: \"usr:x\"}}", "alerts.yaml:2:"},
      {"rules:\n  - {name: A, when: {event: X}, actions: [mail]}",
       "journal, or a map with command or webhook"},
      {"rules:\n  - {name: A, when: {event: X}, actions: [{command: [true]}]}",
       "the program's whole path"},
      {"rules:\n  - {name: A, when: {event: X}, actions: [{webhook: \"ftp://x\"}]}",
       "begins with http:// or https://"},
      {"rules:\n  - {name: A, when: {event: X}, actions: [{command: [/x], webhook: "
       "y}]}",
       "journal, or a map"},
      {"rules:\n  - {name: A, when: {event: X}, actions: [{webhook: \"http://x\", "
       "user: y}]}",
       "no key of this action"},
      {"rules:\n  - {name: A, when: {event: X}}\n  - {name: A, when: {event: Y}}",
       "alerts.yaml:3:5: found the rule \"A\" twice"},
      {"compliance: {days: 3}", "no key of compliance"},
      {"- x", "a map with rules, off and compliance"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_NE(Mistake(text).find(expected), std::string::npos)
        << text << " -> " << Mistake(text);
}

}  // namespace
}  // namespace keyfold::policy
