#include <string_view>

#include "policy/engine/Engine.h"
#include "policy/engine/Match.h"

namespace keyfold::policy {
namespace {

// Source names one statement: of which document, held by whom.
struct Source {
  const Document* document = nullptr;  // null: nothing found
  size_t index = 0;
  std::string_view holder;  // empty for a key policy
  explicit operator bool() const { return document != nullptr; }
};

// "statement 'NoNight' of policy 'Payroll' of user accounts"
std::string Describe(const Source& source) {
  const Statement& statement = source.document->statements[source.index];
  std::string text = "statement ";
  if (statement.sid.empty())
    text += std::to_string(source.index + 1);
  else
    text.append("'").append(statement.sid).append("'");
  if (source.holder.empty()) return text + " of the key policy";
  return text.append(" of policy '")
      .append(source.document->name)
      .append("' of ")
      .append(source.holder);
}

std::string Asks(const Principal& principal, const Request& request) {
  return ShortPrincipal(principal.arn) + " " + request.action;
}

// Verdict is what a set of documents says.
struct Verdict {
  Source deny, allow;
};

// Read adds to `verdict` what an identity policy says of the request.
void Read(const Document& document, std::string_view holder, const Request& request,
          const Asker& asker, Verdict* verdict) {
  for (size_t i = 0; i < document.statements.size(); ++i) {
    const Statement& statement = document.statements[i];
    Source& slot = statement.effect == Effect::kDeny ? verdict->deny : verdict->allow;
    if (slot || !MatchAction(statement, request) ||
        !MatchConditions(statement, request, asker))
      continue;
    slot = {&document, i, holder};
  }
}

Verdict ReadIdentityPolicies(const IamIndex& iam, const Principal& principal,
                             const Request& request, const Asker& asker) {
  Verdict verdict;
  const auto read = [&](const std::string& arn) {
    for (const Attachment& attachment : iam.AttachedTo(arn))
      Read(*attachment.document, attachment.holder, request, asker, &verdict);
  };
  read(principal.arn);
  for (const std::string& group : principal.group_arns) read(group);
  if (principal.is_account_root) {
    static const Document& root =
        ManagedPolicies().find(std::string(kAccountRootPolicy))->second;
    Read(root, "the account's root user", request, asker, &verdict);
  }
  return verdict;
}

bool Names(const std::vector<std::string>& patterns, const Principal& principal) {
  for (const std::string& pattern : patterns) {
    if (pattern == "*" || pattern == principal.arn) return true;
    for (const std::string& group : principal.group_arns)
      if (pattern == group) return true;
  }
  return false;
}

bool NamesAccount(const std::vector<std::string>& patterns, const IamIndex& iam) {
  for (const std::string& pattern : patterns)
    if (pattern == iam.root_arn()) return true;
  return false;
}

struct KeyVerdict {
  Source deny, allow, account;
};

KeyVerdict ReadKeyPolicy(const IamIndex& iam, const Principal& principal,
                         const Request& request, const Asker& asker,
                         const Document& policy) {
  KeyVerdict verdict;
  for (size_t i = 0; i < policy.statements.size(); ++i) {
    const Statement& statement = policy.statements[i];
    if (!MatchAction(statement, request) || !MatchConditions(statement, request, asker))
      continue;
    const Source source{&policy, i, ""};
    const bool direct = statement.not_principals.empty()
                            ? Names(statement.principals, principal)
                            : !Names(statement.not_principals, principal);
    const bool account = NamesAccount(statement.principals, iam);
    // A denial for the account meets all its principals; an allowance lets
    // identity policies decide, and allows nobody by itself.
    if (statement.effect == Effect::kDeny) {
      if ((direct || account) && !verdict.deny) verdict.deny = source;
      continue;
    }
    if (direct && !verdict.allow) verdict.allow = source;
    if (account && !verdict.account) verdict.account = source;
  }
  return verdict;
}

constexpr std::string_view kKms = "kms:";
constexpr std::string_view kContextPrefix = "kms:EncryptionContext:";

// HasPair tells whether the encryption context holds `name` = `value`. Names
// and values count exactly, unlike those of conditions.
bool HasPair(const Context& context, const std::string& name,
             const std::string& value) {
  const auto found = context.find(std::string(kContextPrefix) + name);
  return found != context.end() && found->second.size() == 1 &&
         found->second.front() == value;
}

size_t PairCount(const Context& context) {
  size_t count = 0;
  for (const auto& [name, values] : context)
    if (std::string_view(name).starts_with(kContextPrefix)) ++count;
  return count;
}

bool ConstraintsHold(const Grant& grant, const LazyContext& lazy) {
  if (grant.context_subset.empty() && grant.context_equals.empty()) return true;
  const Context& context = lazy.get();
  for (const auto& [name, value] : grant.context_subset)
    if (!HasPair(context, name, value)) return false;
  if (grant.context_equals.empty()) return true;
  for (const auto& [name, value] : grant.context_equals)
    if (!HasPair(context, name, value)) return false;
  return PairCount(context) == grant.context_equals.size();
}

bool GrantAllows(const Grant& grant, const Principal& principal,
                 const Request& request) {
  const std::string_view action = request.action;
  if (!EqualsIgnoreCase(action.substr(0, kKms.size()), kKms)) return false;
  const std::string_view operation = action.substr(kKms.size());
  const auto to = [&](const std::string& arn) { return arn == grant.grantee; };
  bool grantee = to(principal.arn);
  for (const std::string& group : principal.group_arns) grantee = grantee || to(group);
  if (!grantee) return false;
  bool contained = false;
  for (const std::string& granted : grant.operations)
    contained = contained || EqualsIgnoreCase(granted, operation);
  if (!contained) return false;
  // These have no encryption context that could be compared.
  if (EqualsIgnoreCase(operation, "DescribeKey") ||
      EqualsIgnoreCase(operation, "RetireGrant") ||
      EqualsIgnoreCase(operation, "CreateGrant"))
    return true;
  return ConstraintsHold(grant, request.context);
}

Decision Deny(const Source& source) {
  return {Outcome::kExplicitDeny, "explicitly denied by " + Describe(source)};
}

Decision ByGrant(const Grant& grant) {
  std::string reason = "allowed by grant ";
  reason += grant.name.empty() ? grant.id : "'" + grant.name + "'";
  return {Outcome::kAllow, reason + " to " + ShortPrincipal(grant.grantee)};
}

Decision NotAllowedOnKey(const Principal& principal, const Request& request,
                         bool to_account, const Source& identity) {
  std::string reason =
      "no statement of the key policy allows " + Asks(principal, request);
  if (to_account)
    reason += ", and the key policy leaves it to IAM policies, none of which allows it";
  else if (identity)
    reason += ", and the key policy does not leave it to IAM policies (" +
              Describe(identity) + " would allow it)";
  else
    reason += ", nor does it leave that to IAM policies";
  return {Outcome::kImplicitDeny, std::move(reason)};
}

}  // namespace

Decision DecideOnKey(const IamIndex& iam, const Principal& principal,
                     const Request& request, const Document& key_policy,
                     const std::vector<const Grant*>& grants) {
  const Asker asker{&principal, iam.account()};
  const KeyVerdict key = ReadKeyPolicy(iam, principal, request, asker, key_policy);
  if (key.deny) return Deny(key.deny);
  const Verdict identity = ReadIdentityPolicies(iam, principal, request, asker);
  if (identity.deny) return Deny(identity.deny);

  if (key.allow) return {Outcome::kAllow, "allowed by " + Describe(key.allow)};
  for (const Grant* grant : grants)
    if (GrantAllows(*grant, principal, request)) return ByGrant(*grant);
  if (key.account && identity.allow)
    return {Outcome::kAllow, "allowed by " + Describe(identity.allow) + ", to which " +
                                 Describe(key.account) + " leaves it"};
  return NotAllowedOnKey(principal, request, static_cast<bool>(key.account),
                         identity.allow);
}

Decision DecideOnAccount(const IamIndex& iam, const Principal& principal,
                         const Request& request) {
  const Asker asker{&principal, iam.account()};
  const Verdict verdict = ReadIdentityPolicies(iam, principal, request, asker);
  if (verdict.deny) return Deny(verdict.deny);
  if (verdict.allow) return {Outcome::kAllow, "allowed by " + Describe(verdict.allow)};
  return {Outcome::kImplicitDeny, "no IAM policy allows " + Asks(principal, request)};
}

}  // namespace keyfold::policy
