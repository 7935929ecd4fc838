// What the words of `keyfold audit` ask for.
#pragma once

#include <string>
#include <vector>

#include "fs/cli/Connection.h"

namespace keyfold {

struct AuditWords {
  TargetOptions target;
  std::string format = "text";
  std::string since, user, key;
  int limit = 0;
  bool refused = false, follow = false;
  std::vector<std::string> copies;  // verify --copy
  std::string public_key;
  std::string archive;  // release
  std::string file;     // rules apply, rules test
  bool dry_run = false;
  std::string export_format = "cloudtrail";
};

// AuditEvents fetches the records that the words select, those that did not fit one
// answer included. `damage` is told what does not authenticate, if anything.
Result<std::vector<nlohmann::json>> AuditEvents(Connection& connection,
                                                const nlohmann::json& request,
                                                uint64_t* last, std::string* damage);
Result<nlohmann::json> AuditRequest(const AuditWords& words);

// CallAudit does one operation of the audit service where the words say.
Result<nlohmann::json> CallAudit(const AuditWords& words, const char* operation,
                                 const nlohmann::json& request);

// One function for each verb; they print.
Status VerifyAudit(const AuditWords& words);
Status ShowPublicKey(const AuditWords& words);
Status ArchiveAudit(const AuditWords& words);
Status ListAuditArchives(const AuditWords& words);
Status ReleaseAudit(const AuditWords& words);
Status ExportAudit(const AuditWords& words);
Status ApplyAlertRules(const AuditWords& words);
Status ShowAlertRules(const AuditWords& words);
Status TestAlertRules(const AuditWords& words);
Status ShowCompliance(const AuditWords& words);

}  // namespace keyfold
