// Audit records as lines for people.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace keyfold {

// AuditLines aligns one line a record: time, user, event, outcome, key, path.
// `aliases` names keys by id.
std::string AuditLines(const std::vector<nlohmann::json>& records,
                       const std::map<std::string, std::string>& aliases);

}  // namespace keyfold
