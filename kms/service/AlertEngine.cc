#include "kms/service/AlertEngine.h"

#include <algorithm>

#include "kms/service/Recorder.h"
#include "policy/model/Wildcard.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;
using policy::AlertMatch;
using policy::AlertRule;

constexpr size_t kMostWatched = 10000;
// Who goes on and on is told of again after this time.
constexpr auto kRepeat = std::chrono::hours(1);

constexpr std::string_view kBuiltIn = R"(rules:
  - name: KeyDisabled
    when: {event: DisableKey, error: none, change: true}
    message: "{user} disabled a key"
  - name: KeyDeletionScheduled
    when: {event: ScheduleKeyDeletion, error: none, change: true}
    message: "{user} scheduled a key's deletion"
  - name: KeyMaterialDeleted
    when: {event: DeleteImportedKeyMaterial, error: none, change: true}
    message: "{user} deleted imported key material"
  - name: KeyPolicyChanged
    when: {event: PutKeyPolicy, error: none, change: true}
    message: "{user} changed a key's policy"
  - name: IamChanged
    when: {event: ApplyIam, error: none, change: true}
    message: "{user} changed the account's users or policies"
  - name: AlertRulesChanged
    when: {event: ApplyAlertRules, error: none, change: true}
    message: "{user} changed the rules of alerts"
  - name: KeyStoreRestored
    when: {event: RestoreKeyStore, error: none, change: true}
    message: "{user} put an earlier key store in place"
  - name: RootKeyRotated
    when: {event: RotateRootKey, error: none, change: true}
    message: "{user} began to replace the root key"
  - name: RootKeyProviderChanged
    when: {event: ChangeRootKeyProvider, error: none, change: true}
    message: "{user} changed who seals the root key"
  - name: RootKeyLost
    when: {event: RootKeyUnavailable}
    message: "{message}"
  - name: KeyDestroyed
    when: {event: DeleteKey, error: none, change: true}
    message: "{user} destroyed a key whose waiting period was over"
  - name: ComplianceChanged
    when: {event: ComplianceChanged, error: none}
    message: "{detail}"
  - name: IntegrityFailure
    when:
      - {error: IntegrityFailure}
      - {source: fs.keyfold, error: [InvalidCiphertextException, IncorrectKeyException, NewerFormat]}
    message: "{event}: {message}"
  - name: ManyRefusals
    when: {error: [AccessDeniedException, InvalidSignatureException]}
    count: 10
    within: 1m
    message: "{user} was refused {count} times within {within}"
)";

const std::vector<AlertRule>& BuiltInRules() {
  static const auto* rules = [] {
    auto parsed = policy::ParseAlertRules(kBuiltIn, "built-in", "000000000000");
    if (!parsed.ok()) std::abort();
    return new std::vector<AlertRule>(std::move(parsed->rules));
  }();
  return *rules;
}

std::string Text(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

const json& Part(const json& record, const char* name) {
  static const json kNone = json::object();
  const auto it = record.find(name);
  return it != record.end() && it->is_object() ? *it : kNone;
}

std::vector<std::string> KeyIds(const json& record) {
  std::vector<std::string> ids;
  const auto resources = record.find("resources");
  if (resources == record.end() || !resources->is_array()) return ids;
  for (const json& resource : *resources)
    if (const std::string arn = Text(resource, "ARN"); !arn.empty()) ids.push_back(arn);
  return ids;
}

bool AnyMatches(const std::vector<std::string>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return policy::MatchWildcard(pattern, text);
  });
}

// MaySucceedOften tells whether the rule may match uses of keys that went well.
bool MaySucceedOften(const AlertRule& rule) {
  return std::any_of(rule.when.begin(), rule.when.end(), [](const AlertMatch& match) {
    return match.outcome != AlertMatch::Outcome::kFailure && !match.change;
  });
}

std::string Spelled(std::chrono::seconds time) {
  if (time == std::chrono::minutes(1)) return "a minute";
  if (time == std::chrono::hours(1)) return "an hour";
  if (time.count() % 60 == 0) return std::to_string(time.count() / 60) + " minutes";
  return std::to_string(time.count()) + " seconds";
}

void Replace(std::string& text, std::string_view name, const std::string& value) {
  for (size_t at = 0; (at = text.find(name, at)) != std::string::npos;
       at += value.size())
    text.replace(at, name.size(), value);
}

std::string MessageOf(const AlertRule& rule, const json& record) {
  std::string text = rule.message.empty() ? "{user}: {event} {error}" : rule.message;
  Replace(text, "{user}", Text(Part(record, "userIdentity"), "userName"));
  Replace(text, "{event}", Text(record, "eventName"));
  Replace(text, "{error}", Text(record, "errorCode"));
  Replace(text, "{count}", std::to_string(rule.count));
  Replace(text, "{within}", Spelled(rule.within));
  Replace(text, "{detail}", Text(Part(record, "additionalEventData"), "detail"));
  // Last: its own words are not to be replaced again.
  Replace(text, "{message}", Text(record, "errorMessage"));
  return text;
}

}  // namespace

std::string_view BuiltInAlerts() { return kBuiltIn; }

AlertEngine::AlertEngine(Aliases alias_of) : alias_of_(std::move(alias_of)) { Use({}); }

void AlertEngine::Use(const policy::AlertRules& own) {
  std::vector<AlertRule> rules;
  for (const AlertRule& rule : BuiltInRules()) {
    const bool off =
        std::find(own.off.begin(), own.off.end(), rule.name) != own.off.end() ||
        std::any_of(own.rules.begin(), own.rules.end(),
                    [&](const AlertRule& other) { return other.name == rule.name; });
    if (!off) rules.push_back(rule);
  }
  rules.insert(rules.end(), own.rules.begin(), own.rules.end());
  // Those built in that tell of no change are rare.
  watches_uses_ = std::any_of(own.rules.begin(), own.rules.end(), MaySucceedOften);
  std::lock_guard lock(mutex_);
  rules_ = std::move(rules);
  windows_.clear();
}

std::vector<AlertRule> AlertEngine::Rules() const {
  std::lock_guard lock(mutex_);
  return rules_;
}

bool AlertEngine::Matches(const AlertMatch& match, const json& record) const {
  const std::string error = Text(record, "errorCode");
  if (match.outcome == AlertMatch::Outcome::kSuccess && !error.empty()) return false;
  if (match.outcome == AlertMatch::Outcome::kFailure && error.empty()) return false;
  if (!match.errors.empty() && !AnyMatches(match.errors, error)) return false;
  if (match.change && !SequenceIn(record, kKeyStoreSequence)) return false;
  if (!match.events.empty() && !AnyMatches(match.events, Text(record, "eventName")))
    return false;
  if (!match.sources.empty() && !AnyMatches(match.sources, Text(record, "eventSource")))
    return false;
  const json& who = Part(record, "userIdentity");
  if (!match.principals.empty() && !AnyMatches(match.principals, Text(who, "arn")) &&
      !AnyMatches(match.principals, Text(who, "userName")))
    return false;
  if (match.keys.empty()) return true;
  for (const std::string& arn : KeyIds(record)) {
    const std::string id = arn.substr(arn.rfind('/') + 1);
    if (AnyMatches(match.keys, arn) || AnyMatches(match.keys, id)) return true;
    for (const std::string& alias : alias_of_(id))
      if (AnyMatches(match.keys, alias)) return true;
  }
  return false;
}

// Count tells whether this is the record that raises the alert: the first that makes
// the number full. While more come it is not raised again for an hour.
bool AlertEngine::Count(const AlertRule& rule, const json& record, TimePoint now) {
  if (rule.count <= 1) return true;
  std::string by;
  if (rule.per == policy::AlertPer::kPrincipal)
    by = Text(Part(record, "userIdentity"), "arn");
  if (rule.per == policy::AlertPer::kKey)
    if (const auto keys = KeyIds(record); !keys.empty()) by = keys.front();
  if (windows_.size() > kMostWatched) windows_.clear();
  Window& window = windows_[{rule.name, by}];
  auto& times = window.times;
  while (!times.empty() && times.front() + rule.within < now) times.pop_front();
  if (times.empty()) window.raised.reset();
  times.push_back(now);
  if (times.size() > rule.count) times.pop_front();
  if (times.size() < rule.count) return false;
  if (window.raised && now - *window.raised < kRepeat) return false;
  window.raised = now;
  return true;
}

std::vector<AlertEngine::Raised> AlertEngine::Judge(const json& record, TimePoint now) {
  std::vector<Raised> raised;
  if (Text(record, "eventSource") == kAlertSource) return raised;
  std::lock_guard lock(mutex_);
  for (const AlertRule& rule : rules_) {
    const bool matches =
        std::any_of(rule.when.begin(), rule.when.end(),
                    [&](const AlertMatch& match) { return Matches(match, record); });
    if (matches && Count(rule, record, now))
      raised.push_back({rule.name, MessageOf(rule, record), rule.actions});
  }
  return raised;
}

}  // namespace keyfold
