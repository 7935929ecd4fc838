// The decision: explicit deny, then allow, then default deny; with the reason.
//
// Owns: AWS's evaluation logic for one account. Must not know: keys' states,
// files, time (the context carries it). Pure functions over values; an
// IamIndex is immutable after construction and may be shared by threads.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "policy/model/Model.h"

namespace keyfold::policy {

enum class Outcome { kAllow, kExplicitDeny, kImplicitDeny };

struct Decision {
  Outcome outcome = Outcome::kImplicitDeny;
  // For people: "allowed by statement 'Allow use of the key' of the key policy".
  std::string reason;
  bool allowed() const { return outcome == Outcome::kAllow; }
};

// IamIndex resolves a principal to the policies that apply to it.
class IamIndex {
 public:
  IamIndex(Iam iam, std::string account);
  const Iam& iam() const { return iam_; }
  const std::string& account() const { return account_; }
  // User makes the principal of a Unix user; `unix_groups` are names. A user
  // belongs to an IAM group when iam.yaml says so, or when the IAM group bears
  // the name of one of the user's Unix groups.
  Principal User(const std::string& name, const std::vector<std::string>& unix_groups) const;
  // Role makes the principal of an assumed role; false when `caller` is not
  // in its trust list (a user, a group of the user's, or the account).
  bool AssumeRole(const std::string& role, const Principal& caller, Principal* out) const;
  // Policies are the identity policies that apply, managed ones included. The
  // account root user has the built-in AccountRoot policy.
  const std::vector<const Document*>& Policies(const Principal& principal,
                                               std::vector<const Document*>* scratch) const;

 private:
  Iam iam_;
  std::string account_;
};

// The managed policies that every account has, by name: AdministratorAccess,
// SystemAdministrator, FilesFullAccess, FilesReadOnlyAccess,
// ConsoleReadOnlyAccess, and AccountRoot (not attachable).
const std::map<std::string, Document>& ManagedPolicies();

// DecideOnKey: `key_policy` must allow directly, or hand the decision to the
// account (a statement for :root) and an identity policy allow, or a grant.
Decision DecideOnKey(const IamIndex& iam, const Principal& principal,
                     const Request& request, const Document& key_policy,
                     const std::vector<Grant>& grants);

// DecideOnAccount: for what has no resource policy (kms:CreateKey, iam:*).
Decision DecideOnAccount(const IamIndex& iam, const Principal& principal,
                         const Request& request);

// MatchWildcard: '*' any run, '?' one character. Linear in practice.
bool MatchWildcard(std::string_view pattern, std::string_view text);

// IamChange is one difference between two documents, as the iam: action and
// the resource that must be allowed to whoever applies it.
struct IamChange {
  std::string action;       // "iam:AttachUserPolicy", "iam:PassRole", ...
  std::string resource;     // ARN
  std::string description;  // "attach AdministratorAccess to user sysadmin"
};
// Diff lists what turns `before` into `after`. Adding to a role's trust is
// iam:PassRole, unless it adds `caller` (or a group of its own): that gives the
// caller the role's policies, hence iam:AttachUserPolicy on the caller.
std::vector<IamChange> Diff(const Iam& before, const Iam& after,
                            const std::string& account, const Principal& caller);

}  // namespace keyfold::policy
