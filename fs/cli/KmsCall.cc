#include "fs/cli/KmsCall.h"

#include "fs/cli/KeyPolicy.h"
#include "fs/cli/Names.h"
#include "fs/cli/Parameters.h"
#include "fs/cli/Report.h"
#include "fs/cli/UnknownUsers.h"

namespace keyfold {
namespace {

using nlohmann::json;

Result<json> InputJson(const std::string& text) {
  if (text.empty()) return json::object();
  const Parameter input{"CliInputJson", Kind::kStructure, false, ""};
  KF_ASSIGN_OR_RETURN(json object, ParseParameter(input, {text}));
  if (!object.is_object())
    return Status(Error::kUsage, "--cli-input-json expects a JSON object.");
  return object;
}

// AddPolicy turns --administrators and --users into the request's Policy.
Status AddPolicy(const CreateKeyExtras& extras, json* request) {
  if (extras.administrators.empty() && extras.users.empty()) {
    if (extras.allow_deletion)
      return {Error::kUsage, "--allow-deletion goes with --administrators."};
    return OkStatus();
  }
  if (request->contains("Policy"))
    return {Error::kUsage,
            "Give either --policy, or --administrators and --users, not both."};
  KeyPolicyOptions options;
  options.administrators = extras.administrators;
  options.users = extras.users;
  options.administrators_may_delete = extras.allow_deletion.value_or(true);
  options.imports_material = request->value("Origin", json()) == "EXTERNAL";
  options.makes_macs = request->value("KeyUsage", json()) == "GENERATE_VERIFY_MAC";
  (*request)["Policy"] = ConsolePolicy(options).dump();
  return OkStatus();
}

// CheckAlias refuses a taken name before the key is made; a key cannot be
// unmade at once.
Status CheckAlias(Connection& connection, const std::string& alias) {
  if (alias.empty()) return OkStatus();
  if (!alias.starts_with("alias/"))
    return {Error::kUsage, "--alias expects alias/NAME."};
  const Operation* list = FindOperation("kms", "ListAliases");
  const auto aliases = CallAllPages(connection, *list, json::object(), true);
  if (!aliases.ok()) return OkStatus();  // not allowed to look: CreateAlias decides
  for (const json& entry : aliases->value("Aliases", json::array()))
    if (entry.value("AliasName", "") == alias)
      return {Error::kAlreadyExists,
              "An alias with the name " + alias + " already exists"};
  return OkStatus();
}

int NameKey(Connection& connection, const std::string& alias, const json& answer) {
  if (alias.empty()) return 0;
  const std::string id = answer.at("KeyMetadata").at("KeyId").get<std::string>();
  const auto named = connection.Call("kms", "CreateAlias",
                                     {{"AliasName", alias}, {"TargetKeyId", id}});
  if (named.ok()) return 0;
  std::fprintf(stderr, "keyfold: the key %s was created, but could not be named.\n",
               id.c_str());
  return FailCall("CreateAlias", named.status());
}

// FailMade also tells by which option a policy made of options is mended.
int FailMade(const Operation& operation, const CreateKeyExtras& extras,
             const Status& status) {
  const int code = FailCall(operation.name, status);
  const bool made = !extras.administrators.empty() || !extras.users.empty();
  if (made && status.message().find("BypassPolicyLockout") != std::string::npos)
    std::fprintf(stderr,
                 "keyfold: say who may change the policy, such as yourself: "
                 "--administrators user:NAME\n");
  return code;
}

}  // namespace

Result<json> RequestOf(const Operation& operation, const KmsWords& words) {
  KF_ASSIGN_OR_RETURN(json request, InputJson(words.input_json));
  std::string missing;
  for (const Parameter& parameter : operation.parameters) {
    const std::string name(parameter.name);
    const auto values = words.values.find(name);
    const auto set = words.switches.find(name);
    if (values != words.values.end() && !values->second.empty()) {
      KF_ASSIGN_OR_RETURN(request[name], ParseParameter(parameter, values->second));
    } else if (set != words.switches.end()) {
      request[name] = set->second;
    } else if (parameter.required && !request.contains(name)) {
      missing += (missing.empty() ? "--" : ", --") + KebabCase(name);
    }
  }
  if (!missing.empty())
    return Status(Error::kUsage, "Missing: " + missing + ". See: keyfold kms " +
                                     KebabCase(operation.name) + " --help");
  return request;
}

Result<json> CallAllPages(Connection& connection, const Operation& operation,
                          json request, bool paginate) {
  KF_ASSIGN_OR_RETURN(json answer,
                      connection.Call(operation.service, operation.name, request));
  if (!paginate || request.contains("Limit") || request.contains("Marker"))
    return answer;
  while (answer.value("Truncated", false) && answer.contains("NextMarker")) {
    request["Marker"] = answer["NextMarker"];
    KF_ASSIGN_OR_RETURN(json page,
                        connection.Call(operation.service, operation.name, request));
    for (auto& [name, member] : answer.items())
      if (member.is_array() && page.contains(name) && page[name].is_array())
        member.insert(member.end(), page[name].begin(), page[name].end());
    answer["Truncated"] = page.value("Truncated", false);
    answer.erase("NextMarker");
    if (page.contains("NextMarker")) answer["NextMarker"] = page["NextMarker"];
  }
  answer.erase("Truncated");
  return answer;
}

int RunKms(const Operation& operation, const KmsWords& words,
           const TargetOptions& target, const OutputOptions& output) {
  auto request = RequestOf(operation, words);
  if (!request.ok()) return Fail(request.status());
  Status status = AddPolicy(words.extras, &*request);
  if (!status.ok()) return Fail(status);
  auto connection = Connect(target);
  if (!connection.ok()) return Fail(connection.status());
  status = CheckAlias(**connection, words.extras.alias);
  if (!status.ok()) return FailCall("CreateAlias", status);
  const auto answer =
      CallAllPages(**connection, operation, *request, !words.no_paginate);
  if (!answer.ok()) return FailMade(operation, words.extras, answer.status());
  if (!operation.read_only) TellUnknownUsers(UsersOfRequest(*request));
  const int named = NameKey(**connection, words.extras.alias, *answer);
  if (named != 0) return named;
  const auto text = Render(*answer, output);
  if (!text.ok()) return Fail(text.status());
  status = Print(*text);
  return status.ok() ? 0 : Fail(status);
}

}  // namespace keyfold
