// The account's users, groups, roles and policies.
#include "kms/service/Operations.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

json Describe(const policy::Principal& principal) {
  return {{"Arn", principal.arn}, {"UserName", principal.user_name},
          {"Groups", principal.group_arns}, {"AccountRoot", principal.is_account_root}};
}

std::vector<std::string> PolicyNames(const policy::IamIndex& iam,
                                     const policy::Principal& principal) {
  std::vector<std::string> names;
  for (const policy::Document* document : iam.Policies(principal))
    names.push_back(document->name);
  return names;
}

const char* OutcomeName(policy::Outcome outcome) {
  switch (outcome) {
    case policy::Outcome::kAllow: return "allowed";
    case policy::Outcome::kExplicitDeny: return "explicitDeny";
    case policy::Outcome::kImplicitDeny: return "implicitDeny";
  }
  return "implicitDeny";
}

}  // namespace

Answer GetIam(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount("iam:GetAccountAuthorizationDetails", "*"));
  return json{{"Document", call.state->iam_text}};
}

Answer ApplyIam(Invocation& call) {
  const Parameters& p = call.parameters;
  const std::string text = p.String("Document");
  KF_ASSIGN_OR_RETURN(
      policy::Iam iam,
      policy::ParseIam(text, p.String("DocumentName", "iam.yaml"), call.account.id));
  json changes = json::array();
  for (const policy::IamChange& change :
       policy::Diff(call.state->iam->iam(), iam, call.account.id, call.principal)) {
    const Status allowed = call.AuthorizeOnAccount(change.action, change.resource);
    if (!allowed.ok())
      return Status(Error::kAccessDenied, allowed.message() + ": " + change.description);
    changes.push_back({{"Action", change.action},
                       {"Resource", change.resource},
                       {"Description", change.description}});
  }
  if (changes.empty())
    // What changes nothing still may not be a way to learn or rewrite the text.
    KF_RETURN_IF_ERROR(call.AuthorizeOnAccount("iam:GetAccountAuthorizationDetails", "*"));
  if (!p.Boolean("DryRun")) call.Change().PutIam(text, std::move(iam), call.account.id);
  return json{{"Changes", std::move(changes)}};
}

Answer WhoAmI(Invocation& call) {
  json answer = Describe(call.principal);
  answer["Uid"] = call.caller.uid;
  answer["Account"] = call.account.id;
  answer["Region"] = call.account.region;
  answer["Policies"] = PolicyNames(*call.state->iam, call.principal);
  return answer;
}

Answer Simulate(Invocation& call) {
  const Parameters& p = call.parameters;
  policy::Principal who = call.principal;
  const std::string name = p.String("User");
  const bool other = !name.empty() && name != who.user_name && name != who.arn;
  const bool informed =
      call.AuthorizeOnAccount("iam:SimulatePrincipalPolicy", "*").ok();
  if (other) {
    KF_RETURN_IF_ERROR(call.AuthorizeOnAccount("iam:SimulatePrincipalPolicy", "*"));
    who = call.identity.Named(name, *call.state->iam);
  }
  std::string action = p.String("Action");
  if (action.find(':') == std::string::npos) action.insert(0, "kms:");
  policy::Decision decision;
  std::string resource = "*";
  if (p.Has("KeyId")) {
    const std::string given = p.String("KeyId");
    const KeyRef key = ResolveKey(*call.state, call.account, given, call.now);
    if (!key) return Status(Error::kNotFound, "Key '" + given + "' does not exist");
    resource = KeyArn(call.account, key->id);
    policy::Request request{action, resource, call.ConditionsOn(*key)};
    request.context["aws:PrincipalArn"] = {who.arn};
    decision = policy::DecideOnKey(*call.state->iam, who, request, key->policy,
                                   call.state->GrantsOf(key->id));
  } else {
    decision = policy::DecideOnAccount(*call.state->iam, who, {action, resource, {}});
  }
  json answer = {{"Principal", Describe(who)}, {"Action", action}, {"Resource", resource},
                 {"Decision", OutcomeName(decision.outcome)}};
  // The reason quotes policies, which are for those who may read them.
  if (informed || decision.allowed()) answer["Reason"] = decision.reason;
  return answer;
}

}  // namespace keyfold
