#include "fs/cli/AuditText.h"

#include "fs/cli/Output.h"

namespace keyfold {
namespace {

using nlohmann::json;

std::string Member(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

std::vector<std::string> Row(const json& record,
                             const std::map<std::string, std::string>& aliases) {
  std::string keys, paths;
  for (const json& resource : record.value("resources", json::array())) {
    const std::string arn = Member(resource, "ARN");
    const size_t key = arn.find(":key/");
    std::string* list = key == std::string::npos ? &paths : &keys;
    std::string shown = key == std::string::npos ? arn : arn.substr(key + 5);
    const auto alias = aliases.find(shown);
    if (alias != aliases.end()) shown = alias->second;
    *list += (list->empty() ? "" : ",") + shown;
  }
  const std::string error = Member(record, "errorCode");
  return {Member(record, "eventTime"),
          Member(record.value("userIdentity", json::object()), "userName"),
          Member(record, "eventName"),
          error.empty() ? "ok" : error,
          keys.empty() ? "-" : keys,
          paths};
}

}  // namespace

std::string AuditLines(const std::vector<json>& records,
                       const std::map<std::string, std::string>& aliases) {
  std::vector<std::vector<std::string>> rows;
  for (const json& record : records) rows.push_back(Row(record, aliases));
  return Columns(rows);
}

}  // namespace keyfold
