// Audit records as lines for people.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fs/cli/Output.h"

namespace keyfold {

// AuditLines has one line a record: time, user, event, outcome, key, path. `aliases`
// names keys by id.
std::string AuditLines(const std::vector<nlohmann::json>& records,
                       const std::map<std::string, std::string>& aliases,
                       Layout layout = LayoutOfOutput());
// KeysOf lists the ids of the keys a record is about.
std::vector<std::string> KeysOf(const nlohmann::json& record);

}  // namespace keyfold
