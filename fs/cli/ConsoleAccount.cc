#include "fs/cli/ConsoleAccount.h"

#include "policy/model/ManagedPolicies.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

json UsersIn(const policy::Iam& iam) {
  json users = json::array();
  for (const auto& [name, user] : iam.users)
    users.push_back({{"Name", name},
                     {"Groups", user.groups},
                     {"Policies", user.policies},
                     {"Tags", user.tags}});
  return users;
}

json GroupsIn(const policy::Iam& iam) {
  json groups = json::array();
  for (const auto& [name, group] : iam.groups)
    groups.push_back({{"Name", name}, {"Policies", group.policies}});
  return groups;
}

json RolesIn(const policy::Iam& iam) {
  json roles = json::array();
  for (const auto& [name, role] : iam.roles) {
    std::vector<std::string> trust;
    for (const std::string& arn : role.trust)
      trust.push_back(policy::ShortPrincipal(arn));
    roles.push_back({{"Name", name}, {"Policies", role.policies}, {"Trust", trust}});
  }
  return roles;
}

// The account's own policies, and those that every account has.
json PoliciesIn(const policy::Iam& iam) {
  json policies = json::array();
  for (const auto* documents : {&iam.policies, &policy::ManagedPolicies()})
    for (const auto& [name, document] : *documents)
      if (name != policy::kAccountRootPolicy)
        policies.push_back({{"Name", name},
                            {"Managed", documents != &iam.policies},
                            {"Document", policy::ToJson(document)}});
  return policies;
}

Result<json> DescribeAccount(const decltype(ConsoleBackend::call)& call) {
  KF_ASSIGN_OR_RETURN(const json answer, call("iam", "GetIam", json::object()));
  KF_ASSIGN_OR_RETURN(const json me, call("iam", "WhoAmI", json::object()));
  KF_ASSIGN_OR_RETURN(const policy::Iam iam,
                      policy::ParseIam(answer.value("Document", ""), "iam.yaml",
                                       me.value("Account", "")));
  return json{{"Users", UsersIn(iam)},
              {"Groups", GroupsIn(iam)},
              {"Roles", RolesIn(iam)},
              {"Policies", PoliciesIn(iam)}};
}

}  // namespace

void AddAccountOperations(ConsoleBackend* backend) {
  backend->own["DescribeAccount"] = [call = backend->call](const json&) {
    return DescribeAccount(call);
  };
}

}  // namespace keyfold
