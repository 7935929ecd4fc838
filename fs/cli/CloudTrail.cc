#include "fs/cli/CloudTrail.h"

#include <string>

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kThisMachine[] = "127.0.0.1";

std::string Text(const json& object, const char* name,
                 const std::string& otherwise = "") {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : otherwise;
}

json Copied(const json& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() ? json() : *it;
}

// The role's session in CloudTrail's place; who assumed it stays in the user's name.
json SessionOf(const json& identity) {
  const std::string arn = Text(identity, "arn");
  return {{"sessionIssuer",
           {{"type", "Role"},
            {"arn", arn},
            {"accountId", Text(identity, "accountId")},
            {"userName", arn.substr(arn.rfind('/') + 1)}}},
          {"attributes", {{"mfaAuthenticated", "false"}}}};
}

json IdentityOf(const json& identity) {
  const std::string type = Text(identity, "type", "Unknown");
  if (type == "AWSService")
    return {{"type", type}, {"invokedBy", Text(identity, "userName", "keyfold")}};
  json out = {{"type", type}};
  for (const char* name :
       {"principalId", "arn", "accountId", "accessKeyId", "userName", "invokedBy"})
    if (identity.contains(name)) out[name] = identity[name];
  if (type == "AssumedRole") out["sessionContext"] = SessionOf(identity);
  return out;
}

// CloudTrail names all resources by ARN.
json ResourcesOf(const json& record) {
  json out = json::array();
  const std::string account = Text(record, "recipientAccountId");
  for (json resource : record.value("resources", json::array())) {
    if (!resource.is_object()) continue;
    if (!resource.contains("ARN") && resource.contains("path")) {
      resource["ARN"] = "arn:aws:keyfold:" + Text(record, "awsRegion") + ":" + account +
                        ":file" + Text(resource, "path");
      resource["accountId"] = account;
      resource.erase("path");
    }
    out.push_back(std::move(resource));
  }
  return out;
}

json AdditionalOf(const json& record, const json& identity) {
  json out = record.value("additionalEventData", json());
  if (!out.is_object()) out = json::object();
  json& process = out["keyfold"];
  for (const char* name :
       {"uid", "gid", "pid", "executable", "sessionName", "clientUid"})
    if (identity.contains(name)) process[name] = identity[name];
  for (const char* name : {"sequence", "previousHash", "mac"})
    if (record.contains(name)) process[name] = record[name];
  return out;
}

}  // namespace

json CloudTrailEvent(const json& record) {
  const std::string source = Text(record, "eventSource");
  const json identity = record.value("userIdentity", json::object());
  const bool data = source == "fs.keyfold";
  const bool own = Text(identity, "type") == "AWSService" || source == "alerts.keyfold";
  const std::string address = Text(record, "sourceIPAddress", "local");
  json out = {{"eventVersion", Text(record, "eventVersion", "1.08")},
              {"userIdentity", IdentityOf(identity)},
              {"eventTime", Text(record, "eventTime")},
              {"eventSource", source},
              {"eventName", Text(record, "eventName")},
              {"awsRegion", Text(record, "awsRegion")},
              {"sourceIPAddress", address == "local" ? kThisMachine : address},
              {"userAgent", Text(identity, "executable", "keyfold")},
              {"requestParameters", Copied(record, "requestParameters")},
              {"responseElements", Copied(record, "responseElements")},
              {"additionalEventData", AdditionalOf(record, identity)},
              {"requestID", Text(record, "requestID")},
              {"eventID", Text(record, "eventID")},
              {"readOnly", record.value("readOnly", true)},
              {"resources", ResourcesOf(record)},
              {"eventType", own ? "AwsServiceEvent" : "AwsApiCall"},
              {"managementEvent", !data},
              // Alerts have none of their own.
              {"recipientAccountId",
               Text(record, "recipientAccountId", Text(identity, "accountId"))},
              {"eventCategory", data ? "Data" : "Management"}};
  for (const char* name : {"errorCode", "errorMessage"})
    if (record.contains(name)) out[name] = record[name];
  return out;
}

}  // namespace keyfold
