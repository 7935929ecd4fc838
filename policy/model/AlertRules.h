// AlertRules: which audit records somebody is to be told of, and how; and what the
// state of keys is held against. Plain values.
//
// Must not know: YAML, records, delivery.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace keyfold::policy {

// AlertMatch selects records. Each list holds wildcards, of which one must match; an
// empty one matches all.
struct AlertMatch {
  enum class Outcome { kAny, kSuccess, kFailure };
  std::vector<std::string> events;      // eventName
  std::vector<std::string> sources;     // eventSource
  std::vector<std::string> principals;  // ARN, or Unix name
  std::vector<std::string> keys;        // id, ARN or alias
  std::vector<std::string> errors;      // errorCode
  Outcome outcome = Outcome::kAny;
  bool change = false;  // only what was committed to the key store

  bool operator==(const AlertMatch&) const = default;
};

// AlertAction is one way to tell somebody.
struct AlertAction {
  enum class Kind { kJournal, kCommand, kWebhook };
  Kind kind = Kind::kJournal;
  std::vector<std::string> command;  // program (absolute) and arguments
  std::string user;                  // whom it runs as; empty: who applied the rules
  std::string url;                   // of a webhook
  std::chrono::seconds timeout{10};
  unsigned attempts = 5;  // of a webhook
  // Found in the store, not applied since it was opened: by whom is anybody's guess.
  bool stored = false;

  bool operator==(const AlertAction&) const = default;
};

// What several records are counted together by.
enum class AlertPer { kPrincipal, kKey, kAll };

struct AlertRule {
  std::string name;
  std::vector<AlertMatch> when;  // one of them
  size_t count = 1;              // so many records
  std::chrono::seconds within{60};
  AlertPer per = AlertPer::kPrincipal;
  std::string message;  // {user}, {event}, {error}, {message}, {count}
  std::vector<AlertAction> actions;

  bool operator==(const AlertRule&) const = default;
};

// What CheckCompliance goes by.
struct ComplianceLimits {
  unsigned import_expiry_days = 30;  // imported material must be good for longer
  unsigned grant_unused_days = 90;
  std::string restricted_tag = "restricted";  // of keys that only named users may use

  bool operator==(const ComplianceLimits&) const = default;
};

struct AlertRules {
  std::vector<AlertRule> rules;
  std::vector<std::string> off;  // built-in rules that are not to be
  ComplianceLimits compliance;

  bool operator==(const AlertRules&) const = default;
};

}  // namespace keyfold::policy
