// The rules of alerts, and what the state of keys is held against.
#include "kms/base/IsoTime.h"
#include "kms/service/Compliance.h"
#include "kms/service/Operations.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMostTested = 100000;
constexpr size_t kMostShown = 1000;

Result<policy::AlertRules> RulesOf(const Invocation& call) {
  return policy::ParseAlertRules(call.parameters.String("Document"),
                                 call.parameters.String("DocumentName", "rules"),
                                 call.account.id);
}

// A daemon of root's could run a program as anybody, so whoever is not root may have
// one run as themselves only.
Status CheckCommands(const Invocation& call, const policy::AlertRules& rules) {
  for (const policy::AlertRule& rule : rules.rules)
    for (const policy::AlertAction& action : rule.actions)
      if (action.kind == policy::AlertAction::Kind::kCommand && call.caller.uid != 0 &&
          !action.user.empty() && action.user != call.principal.user_name)
        return {Error::kAccessDenied,
                "User: " + call.principal.arn +
                    " is not authorized to have a program run as user " + action.user +
                    " (rule " + rule.name + "). Only root may."};
  return OkStatus();
}

TimePoint TimeOf(const json& record, TimePoint otherwise) {
  const auto time =
      ParseIso8601(record.value("eventTime", std::string()), TimeZone::kRequired);
  return time ? std::chrono::time_point_cast<std::chrono::milliseconds>(*time)
              : otherwise;
}

}  // namespace

Answer GetAlertRules(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(kLookup, "*"));
  return json{{"Document", call.state->alert_rules.text},
              {"BuiltIn", std::string(BuiltInAlerts())}};
}

Answer ApplyAlertRules(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  KF_ASSIGN_OR_RETURN(policy::AlertRules rules, RulesOf(call));
  KF_RETURN_IF_ERROR(CheckCommands(call, rules));
  const size_t count = rules.rules.size();
  if (!call.parameters.Boolean("DryRun"))
    call.Change().PutAlertRules(call.parameters.String("Document"),
                                call.principal.user_name, std::move(rules));
  return json{{"Rules", count}};
}

// TestAlertRules tells which alerts the records there are would have raised.
Answer TestAlertRules(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(kLookup, "*"));
  policy::AlertRules rules = *call.state->alert_rules.rules;
  if (call.parameters.Has("Document")) {
    KF_ASSIGN_OR_RETURN(rules, RulesOf(call));
  }
  AlertEngine engine(
      [&call](std::string_view id) { return call.state->AliasesOf(id); });
  engine.Use(rules);
  AuditFilter filter;
  filter.since = call.parameters.String("Since");
  filter.limit = kMostTested;
  filter.max_bytes = 64 << 20;
  KF_ASSIGN_OR_RETURN(const AuditRecords found, call.audit.Read(filter));
  json alerts = json::array();
  size_t count = 0;
  for (const json& record : found.records)
    for (const auto& raised : engine.Judge(record, TimeOf(record, call.now)))
      if (++count <= kMostShown)
        alerts.push_back({{"Alert", raised.name},
                          {"Time", record.value("eventTime", "")},
                          {"Sequence", record.value("sequence", uint64_t{0})},
                          {"Message", raised.message}});
  return json{{"Records", found.records.size()},
              {"Raised", count},
              {"Alerts", std::move(alerts)}};
}

Answer DescribeCompliance(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(kLookup, "*"));
  json findings = json::array();
  for (const ComplianceFinding& finding : CheckCompliance(
           *call.state, call.account, call.state->alert_rules.rules->compliance,
           call.activity.known(), call.now))
    findings.push_back(
        {{"Rule", finding.rule},
         {"Resource", finding.resource},
         {"Compliance", finding.compliant ? "COMPLIANT" : "NON_COMPLIANT"},
         {"Reason", finding.reason}});
  return json{{"Findings", std::move(findings)}};
}

}  // namespace keyfold
