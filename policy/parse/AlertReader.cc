// The rules of alerts out of YAML.
#include <charconv>
#include <set>

#include "policy/parse/Parse.h"
#include "policy/parse/Reader.h"

namespace keyfold::policy {
namespace {

using std::chrono::seconds;

const std::vector<std::string_view> kTopKeys = {"rules", "off", "compliance"};
const std::vector<std::string_view> kRuleKeys = {"name", "when",    "count",  "within",
                                                 "per",  "message", "actions"};
const std::vector<std::string_view> kMatchKeys = {"event", "source", "principal",
                                                  "key",   "error",  "change"};
const std::vector<std::string_view> kCommandKeys = {"command", "user", "timeout"};
const std::vector<std::string_view> kWebhookKeys = {"webhook", "timeout", "attempts"};
const std::vector<std::string_view> kComplianceKeys = {
    "import-expiry-days", "grant-unused-days", "restricted-tag"};

constexpr size_t kMaxBytes = 256 * 1024;
constexpr size_t kMaxNodes = 20'000;
constexpr size_t kMostRules = 200;
constexpr unsigned kMostCount = 10'000, kMostAttempts = 20, kMostDays = 3650;

class AlertReader {
 public:
  explicit AlertReader(const Source& source) : source_(source) {}

  Result<AlertRules> Read(const Node& root) {
    if (root.kind == Node::Kind::kNull) return std::move(out_);
    KF_RETURN_IF_ERROR(
        ExpectMap(source_, root, "a map with rules, off and compliance"));
    for (const auto& [key, value] : root.entries) {
      if (key.text == "rules")
        KF_RETURN_IF_ERROR(Rules(value));
      else if (key.text == "off")
        KF_RETURN_IF_ERROR(Texts(value, "names of built-in rules", &out_.off));
      else if (key.text == "compliance")
        KF_RETURN_IF_ERROR(Compliance(value));
      else
        return UnknownKey(source_, key, "the alert rules", kTopKeys);
    }
    return std::move(out_);
  }

 private:
  Status Rules(const Node& node) {
    if (node.kind == Node::Kind::kNull) return OkStatus();
    if (node.kind != Node::Kind::kList)
      return ErrorExpected(source_, node, "a list of rules");
    if (node.items.size() > kMostRules)
      return ErrorAt(source_, node,
                     "more than " + std::to_string(kMostRules) + " rules");
    for (const Node& item : node.items) {
      AlertRule rule;
      KF_RETURN_IF_ERROR(Rule(item, &rule));
      if (!names_.insert(rule.name).second)
        return ErrorAt(source_, item, "found the rule " + Quote(rule.name) + " twice");
      out_.rules.push_back(std::move(rule));
    }
    return OkStatus();
  }

  Status Rule(const Node& node, AlertRule* rule) {
    KF_RETURN_IF_ERROR(ExpectMap(source_, node, "a rule: a map with name and when"));
    for (const auto& [key, value] : node.entries) {
      if (key.text == "name") {
        KF_ASSIGN_OR_RETURN(rule->name, ReadText(source_, value, "the rule's name"));
        if (!ValidName(rule->name))
          return ErrorExpected(source_, value, "a name without *, ? and /");
      } else if (key.text == "when") {
        KF_RETURN_IF_ERROR(When(value, &rule->when));
      } else if (key.text == "count") {
        KF_ASSIGN_OR_RETURN(rule->count, Number(value, 1, kMostCount));
      } else if (key.text == "within") {
        KF_ASSIGN_OR_RETURN(rule->within, Duration(value, seconds(86400)));
      } else if (key.text == "per") {
        KF_RETURN_IF_ERROR(Per(value, &rule->per));
      } else if (key.text == "message") {
        KF_ASSIGN_OR_RETURN(rule->message, ReadText(source_, value, "a message"));
      } else if (key.text == "actions") {
        KF_RETURN_IF_ERROR(Actions(value, &rule->actions));
      } else {
        return UnknownKey(source_, key, "a rule", kRuleKeys);
      }
    }
    if (rule->name.empty()) return ErrorAt(source_, node, "a rule needs a name");
    if (rule->when.empty())
      return ErrorAt(source_, node,
                     "the rule " + Quote(rule->name) + " needs when: what it is about");
    if (rule->actions.empty()) rule->actions.emplace_back();
    return OkStatus();
  }

  Status When(const Node& node, std::vector<AlertMatch>* out) {
    if (node.kind != Node::Kind::kList) return Match(node, &out->emplace_back());
    if (node.items.empty()) return ErrorExpected(source_, node, "what to look for");
    for (const Node& item : node.items)
      KF_RETURN_IF_ERROR(Match(item, &out->emplace_back()));
    return OkStatus();
  }

  Status Match(const Node& node, AlertMatch* match) {
    KF_RETURN_IF_ERROR(ExpectMap(
        source_, node, "a map with event, source, principal, key, error or change"));
    if (node.entries.empty()) return ErrorExpected(source_, node, "what to look for");
    for (const auto& [key, value] : node.entries) {
      if (key.text == "event")
        KF_RETURN_IF_ERROR(Texts(value, "names of events", &match->events));
      else if (key.text == "source")
        KF_RETURN_IF_ERROR(Texts(value, "sources of events", &match->sources));
      else if (key.text == "principal")
        KF_RETURN_IF_ERROR(Principals(value, &match->principals));
      else if (key.text == "key")
        KF_RETURN_IF_ERROR(Texts(value, "keys", &match->keys));
      else if (key.text == "error")
        KF_RETURN_IF_ERROR(Errors(value, match));
      else if (key.text == "change") {
        KF_ASSIGN_OR_RETURN(match->change, Flag(value));
      } else {
        return UnknownKey(source_, key, "what a rule looks for", kMatchKeys);
      }
    }
    return OkStatus();
  }

  Status Texts(const Node& node, std::string_view expected,
               std::vector<std::string>* out) {
    KF_ASSIGN_OR_RETURN(auto items, ReadItems(source_, node, expected));
    for (Item& item : items) out->push_back(std::move(item.text));
    return OkStatus();
  }

  // A name with a wildcard is compared as it stands.
  Status Principals(const Node& node, std::vector<std::string>* out) {
    KF_ASSIGN_OR_RETURN(const auto items, ReadItems(source_, node, "principals"));
    for (const Item& item : items) {
      if (item.text.find_first_of("*?") != std::string::npos) {
        out->push_back(item.text);
        continue;
      }
      auto arn = ParsePrincipal(item.text, source_.account);
      if (!arn.ok()) return ErrorAt(source_, *item.node, arn.status().message());
      out->push_back(*std::move(arn));
    }
    return OkStatus();
  }

  Status Errors(const Node& node, AlertMatch* match) {
    if (node.kind == Node::Kind::kScalar && node.text == "none") {
      match->outcome = AlertMatch::Outcome::kSuccess;
      return OkStatus();
    }
    match->outcome = AlertMatch::Outcome::kFailure;
    if (node.kind == Node::Kind::kScalar && node.text == "any") return OkStatus();
    return Texts(node, "none, any, or names of errors", &match->errors);
  }

  Status Per(const Node& node, AlertPer* per) {
    constexpr char kExpected[] = "principal, key or all";
    KF_ASSIGN_OR_RETURN(const std::string text, ReadText(source_, node, kExpected));
    if (text == "principal")
      *per = AlertPer::kPrincipal;
    else if (text == "key")
      *per = AlertPer::kKey;
    else if (text == "all")
      *per = AlertPer::kAll;
    else
      return ErrorExpected(source_, node, kExpected);
    return OkStatus();
  }

  Status Actions(const Node& node, std::vector<AlertAction>* out) {
    if (node.kind != Node::Kind::kList || node.items.empty())
      return ErrorExpected(source_, node, "a list of actions");
    for (const Node& item : node.items)
      KF_RETURN_IF_ERROR(Action(item, &out->emplace_back()));
    return OkStatus();
  }

  Status Action(const Node& node, AlertAction* action) {
    constexpr char kExpected[] = "journal, or a map with command or webhook";
    if (node.kind == Node::Kind::kScalar && node.text == "journal") return OkStatus();
    KF_RETURN_IF_ERROR(ExpectMap(source_, node, kExpected));
    const auto has = [&](std::string_view name) {
      for (const auto& [key, value] : node.entries)
        if (key.text == name) return true;
      return false;
    };
    if (has("command") == has("webhook"))
      return ErrorExpected(source_, node, kExpected);
    const bool command = has("command");
    action->kind = command ? AlertAction::Kind::kCommand : AlertAction::Kind::kWebhook;
    for (const auto& [key, value] : node.entries) {
      if (key.text == "timeout") {
        KF_ASSIGN_OR_RETURN(action->timeout,
                            Duration(value, seconds(command ? 300 : 30)));
      } else if (key.text == "command") {
        KF_RETURN_IF_ERROR(
            Texts(value, "a program and its arguments", &action->command));
        if (!action->command.front().starts_with("/"))
          return ErrorExpected(source_, value,
                               "the program's whole path, such as /bin/true");
      } else if (command && key.text == "user") {
        KF_ASSIGN_OR_RETURN(action->user, ReadText(source_, value, "a Unix user"));
      } else if (key.text == "webhook") {
        KF_ASSIGN_OR_RETURN(action->url, ReadText(source_, value, "a URL"));
        if (!action->url.starts_with("http://") && !action->url.starts_with("https://"))
          return ErrorExpected(source_, value,
                               "a URL that begins with http:// or https://");
      } else if (!command && key.text == "attempts") {
        KF_ASSIGN_OR_RETURN(const unsigned attempts, Number(value, 1, kMostAttempts));
        action->attempts = attempts;
      } else {
        return UnknownKey(source_, key, "this action",
                          command ? kCommandKeys : kWebhookKeys);
      }
    }
    return OkStatus();
  }

  Status Compliance(const Node& node) {
    KF_RETURN_IF_ERROR(ExpectMap(source_, node, "a map of limits"));
    for (const auto& [key, value] : node.entries) {
      if (key.text == "import-expiry-days") {
        KF_ASSIGN_OR_RETURN(out_.compliance.import_expiry_days,
                            Number(value, 1, kMostDays));
      } else if (key.text == "grant-unused-days") {
        KF_ASSIGN_OR_RETURN(out_.compliance.grant_unused_days,
                            Number(value, 1, kMostDays));
      } else if (key.text == "restricted-tag") {
        KF_ASSIGN_OR_RETURN(out_.compliance.restricted_tag,
                            ReadText(source_, value, "a tag's name"));
      } else {
        return UnknownKey(source_, key, "compliance", kComplianceKeys);
      }
    }
    return OkStatus();
  }

  Result<bool> Flag(const Node& node) {
    if (node.kind == Node::Kind::kScalar && node.text == "true") return true;
    if (node.kind == Node::Kind::kScalar && node.text == "false") return false;
    return ErrorExpected(source_, node, "true or false");
  }

  Result<unsigned> Number(const Node& node, unsigned least, unsigned most) {
    unsigned value = 0;
    const char* end = node.text.data() + node.text.size();
    const auto parsed = std::from_chars(node.text.data(), end, value);
    if (node.kind == Node::Kind::kScalar && parsed.ec == std::errc() &&
        parsed.ptr == end && value >= least && value <= most)
      return value;
    return ErrorExpected(
        source_, node,
        "a number, " + std::to_string(least) + " to " + std::to_string(most));
  }

  Result<seconds> Duration(const Node& node, seconds most) {
    constexpr std::string_view kUnits = "smh";
    constexpr unsigned kSeconds[] = {1, 60, 3600};
    unsigned value = 0;
    const char* end = node.text.data() + node.text.size();
    const auto parsed = std::from_chars(node.text.data(), end, value);
    if (node.kind == Node::Kind::kScalar && parsed.ec == std::errc() &&
        parsed.ptr + 1 == end && value > 0 && value <= 86400)
      if (const size_t unit = kUnits.find(*parsed.ptr); unit != std::string_view::npos)
        if (const seconds time(value * kSeconds[unit]); time <= most) return time;
    return ErrorExpected(
        source_, node,
        "a time such as 30s, 5m or 1h, at most " + std::to_string(most.count()) + "s");
  }

  const Source& source_;
  AlertRules out_;
  std::set<std::string> names_;
};

}  // namespace

Result<AlertRules> ParseAlertRules(std::string_view text, std::string_view source_name,
                                   const std::string& account) {
  KF_ASSIGN_OR_RETURN(const Node tree,
                      ParseTree(text, source_name, {kMaxBytes, kMaxNodes}));
  const Source source{source_name, account};
  return AlertReader(source).Read(tree);
}

}  // namespace keyfold::policy
