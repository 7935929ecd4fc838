// keyfold audit export
#include "fs/cli/AuditWords.h"
#include "fs/cli/CloudTrail.h"
#include "fs/cli/Output.h"

namespace keyfold {
namespace {

using nlohmann::json;

// As the file a trail delivers: one object, on as few lines as are easy to read.
constexpr char kHead[] = "{\"Records\":[\n", kTail[] = "]}\n";

std::string Line(const json& event) {
  return event.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

Status ExportAudit(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(const json request, AuditRequest(words));
  KF_ASSIGN_OR_RETURN(auto connection, Connect(words.target));
  uint64_t last = 0;
  std::string damage;
  KF_ASSIGN_OR_RETURN(const auto events,
                      AuditEvents(*connection, request, &last, &damage));
  const bool lines = words.export_format == "cloudtrail-lines";
  if (!lines) KF_RETURN_IF_ERROR(Print(kHead));
  for (size_t i = 0; i < events.size(); ++i) {
    const bool comma = !lines && i + 1 < events.size();
    KF_RETURN_IF_ERROR(
        Print(Line(CloudTrailEvent(events[i])) + (comma ? ",\n" : "\n")));
  }
  if (!lines) KF_RETURN_IF_ERROR(Print(kTail));
  // What authenticates was written; the rest makes the command fail.
  if (!damage.empty()) return {Error::kCorrupt, damage};
  return OkStatus();
}

}  // namespace keyfold
