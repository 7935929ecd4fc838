// AlertEngine: which records raise which alerts.
//
// Owns: the built-in rules, and what was counted lately. Must not know: the log,
// delivery. Thread-safe: mutex_ guards everything that changes.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kms/base/Clock.h"
#include "policy/model/AlertRules.h"

namespace keyfold {

// BuiltInAlerts is the YAML of the rules that every store has.
std::string_view BuiltInAlerts();

class AlertEngine {
 public:
  // `alias_of` returns the aliases of a key by its id.
  using Aliases = std::function<std::set<std::string>(std::string_view key_id)>;

  explicit AlertEngine(Aliases alias_of);

  // Use replaces the rules: the built-in ones, but those that `own` turns off or that
  // have the name of one of its own, and its own.
  void Use(const policy::AlertRules& own);
  // Rules are those in force.
  std::vector<policy::AlertRule> Rules() const;
  // WatchesUses tells whether a rule may match records of uses that went well, which
  // are many.
  bool WatchesUses() const { return watches_uses_; }

  struct Raised {
    std::string name, message;
    std::vector<policy::AlertAction> actions;
  };
  // Judge counts the record and returns what it raises. What alerts do is itself on
  // record, and raises none.
  std::vector<Raised> Judge(const nlohmann::json& record, TimePoint now);

 private:
  // Window is what matched lately, for one rule and one principal or key.
  struct Window {
    std::deque<TimePoint> times;
    std::optional<TimePoint> raised;
  };
  bool Matches(const policy::AlertMatch& match, const nlohmann::json& record) const;
  bool Count(const policy::AlertRule& rule, const nlohmann::json& record,
             TimePoint now);

  const Aliases alias_of_;
  std::atomic<bool> watches_uses_{false};
  mutable std::mutex mutex_;
  std::vector<policy::AlertRule> rules_;
  std::map<std::pair<std::string, std::string>, Window> windows_;
};

}  // namespace keyfold
