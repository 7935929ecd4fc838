// The account's users, groups, roles and policies.
#include "kms/service/Operations.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

json Describe(const policy::Principal& principal) {
  return {{"Arn", principal.arn},
          {"UserName", principal.user_name},
          {"Groups", principal.group_arns},
          {"AccountRoot", principal.is_account_root}};
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
    case policy::Outcome::kAllow:
      return "allowed";
    case policy::Outcome::kExplicitDeny:
      return "explicitDeny";
    case policy::Outcome::kImplicitDeny:
      return "implicitDeny";
  }
  return "implicitDeny";
}

// Conditions that are given by hand take the place of the request's.
Status AddConditions(Invocation& call) {
  if (call.parameters.Has("ViaService"))
    call.conditions["kms:ViaService"] = {call.parameters.String("ViaService")};
  for (const std::string& text : call.parameters.Strings("Conditions")) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos)
      return {Error::kValidation,
              "1 validation error detected: 'conditions' takes KEY=VALUE"};
    call.conditions[text.substr(0, equals)].push_back(text.substr(equals + 1));
  }
  return OkStatus();
}

// ChangesBy are those that the document makes, each of which the caller has the right
// to.
Answer ChangesBy(Invocation& call) {
  json changes = json::array();
  for (const policy::IamChange& change : policy::Diff(
           call.state->iam->iam(), *call.iam, call.account.id, call.principal)) {
    const Status allowed = call.AuthorizeOnAccount(change.action, change.resource);
    if (!allowed.ok())
      return Status(Error::kAccessDenied,
                    allowed.message() + ": " + change.description);
    changes.push_back({{"Action", change.action},
                       {"Resource", change.resource},
                       {"Description", change.description}});
  }
  // Who may change nothing does not learn what stands there.
  if (changes.empty())
    KF_RETURN_IF_ERROR(
        call.AuthorizeOnAccount("iam:GetAccountAuthorizationDetails", "*"));
  return changes;
}

}  // namespace

Answer GetIam(Invocation& call) {
  KF_RETURN_IF_ERROR(
      call.AuthorizeOnAccount("iam:GetAccountAuthorizationDetails", "*"));
  return json{{"Document", call.state->iam_text}};
}

Status PrepareIam(Invocation& call) {
  const Parameters& p = call.parameters;
  KF_ASSIGN_OR_RETURN(call.iam, policy::ParseIam(p.String("Document"),
                                                 p.String("DocumentName", "iam.yaml"),
                                                 call.account.id));
  return ChangesBy(call).status();
}

Answer ApplyIam(Invocation& call) {
  KF_ASSIGN_OR_RETURN(json changes, ChangesBy(call));
  // A text that changes nothing is not stored: that would need no right.
  if (!changes.empty() && !call.parameters.Boolean("DryRun"))
    call.Change().PutIam(call.parameters.String("Document"), *std::move(call.iam),
                         call.account.id);
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
  constexpr char kRight[] = "iam:SimulatePrincipalPolicy";
  const Parameters& p = call.parameters;
  const bool informed = call.AuthorizeOnAccount(kRight, "*").ok();
  policy::Principal who = call.principal;
  if (p.Has("User")) {
    KF_ASSIGN_OR_RETURN(const policy::Principal named,
                        call.identity.Named(p.String("User"), *call.state->iam));
    if (named.arn != who.arn) {
      KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(kRight, "*"));
      who = named;
    }
  }
  std::string action = p.String("Action");
  if (action.find(':') == std::string::npos) action.insert(0, "kms:");
  policy::Decision decision;
  std::string resource = "*";
  if (p.Has("KeyId")) {
    const std::string given = p.String("KeyId");
    const KeyRef key = ResolveKey(*call.state, call.account, given, call.now);
    // Whoever may not know whether a key exists is told neither.
    if (!informed && (!key || !call.IsAllowed(who, "kms:DescribeKey", *key)))
      return AccessDenied(call.principal, action, given);
    if (!key) return Status(Error::kNotFound, "Key '" + given + "' does not exist");
    // Not before: what is given by hand must not decide that.
    KF_RETURN_IF_ERROR(AddConditions(call));
    resource = KeyArn(call.account, key->id);
    decision = policy::DecideOnKey(
        *call.state->iam, who, {action, resource, call.ConditionsOn(key.get(), action)},
        key->policy, call.state->GrantsOf(key->id).HeldBy(who));
  } else {
    KF_RETURN_IF_ERROR(AddConditions(call));
    decision = policy::DecideOnAccount(
        *call.state->iam, who, {action, resource, call.ConditionsOn(nullptr, action)});
  }
  json answer = {{"Principal", Describe(who)},
                 {"Action", action},
                 {"Resource", resource},
                 {"Decision", OutcomeName(decision.outcome)}};
  // The reason quotes policies, which are for those who may read them.
  if (informed || decision.allowed()) answer["Reason"] = decision.reason;
  return answer;
}

}  // namespace keyfold
