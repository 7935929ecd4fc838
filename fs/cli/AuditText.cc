#include "fs/cli/AuditText.h"

#include "fs/cli/Output.h"

namespace keyfold {
namespace {

using nlohmann::json;

std::string Member(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

constexpr std::string_view kKeyPart = ":key/";

std::vector<std::string> Arns(const json& record) {
  std::vector<std::string> arns;
  for (const json& resource : record.value("resources", json::array()))
    arns.push_back(Member(resource, "ARN"));
  return arns;
}

// "cfo", or "cfo as auditor/year-end" of a role's session.
std::string Who(const json& identity) {
  std::string who = Member(identity, "userName");
  if (Member(identity, "type") != "AssumedRole") return who;
  const std::string role = Member(identity, "arn"),
                    name = Member(identity, "sessionName");
  who += " as " + role.substr(role.rfind('/') + 1);
  return name.empty() ? who : who + "/" + name;
}

std::vector<std::string> RowOf(const json& record,
                               const std::map<std::string, std::string>& aliases) {
  std::string keys, paths;
  for (const std::string& key : KeysOf(record)) {
    const auto alias = aliases.find(key);
    keys += (keys.empty() ? "" : ",") + (alias == aliases.end() ? key : alias->second);
  }
  for (const json& resource : record.value("resources", json::array()))
    if (const std::string path = Member(resource, "path"); !path.empty())
      paths += (paths.empty() ? "" : ",") + path;
  const std::string error = Member(record, "errorCode");
  return {
      Member(record, "eventTime"), Who(record.value("userIdentity", json::object())),
      Member(record, "eventName"), error.empty() ? "ok" : error,
      keys.empty() ? "-" : keys,   paths};
}

}  // namespace

std::vector<std::string> KeysOf(const json& record) {
  std::vector<std::string> keys;
  for (const std::string& arn : Arns(record)) {
    const size_t at = arn.find(kKeyPart);
    if (at != std::string::npos) keys.push_back(arn.substr(at + kKeyPart.size()));
  }
  return keys;
}

std::string AuditLines(const std::vector<json>& records,
                       const std::map<std::string, std::string>& aliases,
                       Layout layout) {
  std::vector<std::vector<std::string>> rows;
  for (const json& record : records) rows.push_back(RowOf(record, aliases));
  return Columns(rows, layout);
}

}  // namespace keyfold
