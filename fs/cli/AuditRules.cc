// keyfold audit rules and keyfold audit compliance.
#include "fs/cli/AuditWords.h"
#include "fs/cli/Output.h"
#include "fs/cli/Parameters.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxRules = 256 << 10;

}  // namespace

Status ApplyAlertRules(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(words.file, kMaxRules));
  KF_ASSIGN_OR_RETURN(const json answer, CallAudit(words, "ApplyAlertRules",
                                                   {{"Document", text},
                                                    {"DocumentName", words.file},
                                                    {"DryRun", words.dry_run}}));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  return Print(Cell(answer.value("Rules", json(0))) +
               " rules beside the built-in ones" +
               (words.dry_run ? "; nothing was changed (--dry-run).\n" : ".\n"));
}

Status ShowAlertRules(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer,
                      CallAudit(words, "GetAlertRules", json::object()));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  const std::string own = answer.value("Document", "");
  return Print(
      "# Built in; a rule of yours with the same name replaces one of these:\n" +
      answer.value("BuiltIn", "") +
      (own.empty() ? "# There are no rules of your own.\n"
                   : "---\n# Your own:\n" + own));
}

Status TestAlertRules(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(json request, AuditRequest(words));
  if (!words.file.empty()) {
    KF_ASSIGN_OR_RETURN(request["Document"], ReadTextFile(words.file, kMaxRules));
    request["DocumentName"] = words.file;
  }
  KF_ASSIGN_OR_RETURN(const json answer, CallAudit(words, "TestAlertRules", request));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  std::vector<std::vector<std::string>> rows;
  for (const json& alert : answer.value("Alerts", json::array()))
    rows.push_back({alert.value("Time", ""), Cell(alert.value("Sequence", json(0))),
                    alert.value("Alert", ""), alert.value("Message", "")});
  return Print(Columns(rows) + Cell(answer.value("Raised", json(0))) + " alerts from " +
               Cell(answer.value("Records", json(0))) + " records.\n");
}

Status ShowCompliance(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer,
                      CallAudit(words, "DescribeCompliance", json::object()));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  std::vector<std::vector<std::string>> rows;
  for (const json& finding : answer.value("Findings", json::array()))
    rows.push_back({finding.value("Compliance", ""), finding.value("Rule", ""),
                    finding.value("Resource", ""), finding.value("Reason", "")});
  return Print(rows.empty() ? std::string("There are no keys to judge.\n")
                            : Columns(rows));
}

}  // namespace keyfold
