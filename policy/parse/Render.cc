#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

#include "policy/parse/Parse.h"

namespace keyfold::policy {
namespace {

using Json = nlohmann::ordered_json;

// Scalar is a list of one as the one.
Json Scalar(const std::vector<std::string>& list) {
  if (list.size() == 1) return list.front();
  return list;
}

void PutList(Json& out, const char* key, const std::vector<std::string>& list) {
  if (!list.empty()) out[key] = Scalar(list);
}

Json ConditionsJson(const std::vector<Condition>& conditions) {
  Json json = Json::object();
  for (const Condition& condition : conditions)
    json[condition.op][condition.key] = Scalar(condition.values);
  return json;
}

Json StatementJson(const Statement& statement) {
  Json json = Json::object();
  if (!statement.sid.empty()) json["Sid"] = statement.sid;
  json["Effect"] = statement.effect == Effect::kAllow ? "Allow" : "Deny";
  if (!statement.principals.empty())
    json["Principal"]["AWS"] = Scalar(statement.principals);
  if (!statement.not_principals.empty())
    json["NotPrincipal"]["AWS"] = Scalar(statement.not_principals);
  PutList(json, "Action", statement.actions);
  PutList(json, "NotAction", statement.not_actions);
  PutList(json, "Resource", statement.resources);
  PutList(json, "NotResource", statement.not_resources);
  if (!statement.conditions.empty())
    json["Condition"] = ConditionsJson(statement.conditions);
  return json;
}

Json DocumentJson(const Document& document) {
  Json json = Json::object();
  json["Version"] = "2012-10-17";
  if (!document.id.empty()) json["Id"] = document.id;
  json["Statement"] = Json::array();
  for (const Statement& statement : document.statements)
    json["Statement"].push_back(StatementJson(statement));
  return json;
}

void EmitList(YAML::Emitter& out, const char* key,
              const std::vector<std::string>& list) {
  if (list.empty()) return;
  out << YAML::Key << key << YAML::Value << YAML::Flow << YAML::BeginSeq;
  for (const std::string& item : list) out << item;
  out << YAML::EndSeq;
}

void EmitTags(YAML::Emitter& out, const std::map<std::string, std::string>& tags) {
  if (tags.empty()) return;
  out << YAML::Key << "tags" << YAML::Value << YAML::Flow << YAML::BeginMap;
  for (const auto& [name, value] : tags) {
    out << YAML::Key << YAML::DoubleQuoted << name;
    out << YAML::Value << YAML::DoubleQuoted << value;
  }
  out << YAML::EndMap;
}

// EmitJson writes a document as YAML, text in double quotes.
void EmitJson(YAML::Emitter& out, const Json& json) {
  if (json.is_object()) {
    out << YAML::BeginMap;
    for (const auto& [key, value] : json.items()) {
      out << YAML::Key << YAML::DoubleQuoted << key << YAML::Value;
      EmitJson(out, value);
    }
    out << YAML::EndMap;
  } else if (json.is_array()) {
    out << YAML::BeginSeq;
    for (const Json& item : json) EmitJson(out, item);
    out << YAML::EndSeq;
  } else {
    out << YAML::DoubleQuoted << json.get<std::string>();
  }
}

template <typename T, typename One>
void EmitSection(YAML::Emitter& out, const char* key,
                 const std::map<std::string, T>& map, One one) {
  if (map.empty()) return;
  out << YAML::Key << key << YAML::Value << YAML::BeginMap;
  for (const auto& [name, value] : map) {
    out << YAML::Key << name << YAML::Value;
    one(value);
  }
  out << YAML::EndMap;
}

std::vector<std::string> ShortPrincipals(const std::vector<std::string>& arns) {
  std::vector<std::string> names;
  for (const std::string& arn : arns) names.push_back(ShortPrincipal(arn));
  return names;
}

}  // namespace

std::string ToJson(const Document& document) {
  return DocumentJson(document).dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string ToYaml(const Iam& iam) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  EmitSection(out, "users", iam.users, [&](const IamUser& user) {
    out << YAML::BeginMap;
    EmitList(out, "groups", user.groups);
    EmitList(out, "policies", user.policies);
    EmitTags(out, user.tags);
    out << YAML::EndMap;
  });
  EmitSection(out, "groups", iam.groups, [&](const IamGroup& group) {
    out << YAML::BeginMap;
    EmitList(out, "policies", group.policies);
    out << YAML::EndMap;
  });
  EmitSection(out, "roles", iam.roles, [&](const IamRole& role) {
    out << YAML::BeginMap;
    EmitList(out, "policies", role.policies);
    EmitList(out, "trust", ShortPrincipals(role.trust));
    out << YAML::EndMap;
  });
  EmitSection(out, "policies", iam.policies,
              [&](const Document& document) { EmitJson(out, DocumentJson(document)); });
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace keyfold::policy
