// The decision: explicit deny, then allow, then default deny; with the reason.
//
// Owns: AWS's evaluation logic for one account. Must not know: keys' states,
// files, time (the context carries it). Pure functions over values; an
// IamIndex is immutable after construction and may be shared by threads.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/model/ManagedPolicies.h"
#include "policy/model/Model.h"

namespace keyfold::policy {

enum class Outcome { kAllow, kExplicitDeny, kImplicitDeny };

struct Decision {
  Outcome outcome = Outcome::kImplicitDeny;
  // For people: "allowed by statement 'Allow use of the key' of the key policy".
  std::string reason;
  bool allowed() const { return outcome == Outcome::kAllow; }
};

// Attachment is one identity policy as it applies to a principal.
struct Attachment {
  const Document* document = nullptr;
  std::string holder;  // "user cfo", "group finance", "role auditor"
};

// IamIndex resolves a principal to the policies that apply to it. What it
// returns by reference or pointer lives as long as the index does.
class IamIndex {
 public:
  IamIndex(Iam iam, std::string account);
  IamIndex(IamIndex&&) = default;
  IamIndex& operator=(IamIndex&&) = default;

  const Iam& iam() const { return iam_; }
  // number is another for each document that was indexed, so that what was found by
  // one is never taken for what another says.
  uint64_t number() const { return number_; }
  const std::string& account() const { return account_; }
  const std::string& root_arn() const { return root_arn_; }
  // HasGroups: with no IAM groups, a user's Unix groups change nothing and need
  // not be read.
  bool HasGroups() const { return !iam_.groups.empty(); }

  // User makes the principal of a Unix user; `unix_groups` are names. A user
  // belongs to an IAM group when iam.yaml says so, or when the IAM group bears
  // the name of one of the user's Unix groups. The caller of this function sets
  // is_account_root for whoever ran `init`.
  Principal User(const std::string& name,
                 const std::vector<std::string>& unix_groups) const;
  // Service is Keyfold itself: it has no identity policies.
  Principal Service() const;
  // AssumeRole makes the principal of an assumed role, which has the role's
  // policies and none of the caller's, nor its groups, tags and root rights.
  // False when there is no such role, or `caller` is not in its trust list (a
  // user, a group of the user's, the account, everyone). A role can't assume
  // another role.
  bool AssumeRole(const std::string& role, const Principal& caller,
                  Principal* out) const;

  // Policies are the identity policies that apply, managed ones included. The
  // account root user has the built-in AccountRoot policy besides.
  std::vector<const Document*> Policies(const Principal& principal) const;
  // AttachedTo are the policies attached to this very user, group or role.
  const std::vector<Attachment>& AttachedTo(const std::string& arn) const;

 private:
  uint64_t number_;
  Iam iam_;
  std::string account_, root_arn_;
  std::unordered_map<std::string, std::vector<Attachment>> attached_;  // by ARN
};

// DecideOnKey: an explicit deny, in the key policy or in any identity policy of
// the principal, refuses. Otherwise the key policy must allow the principal
// itself; or a grant must; or the key policy must hand the decision to the
// account (an Allow statement for :root) and an identity policy allow it.
// Grant constraints are compared with the context keys
// "kms:EncryptionContext:NAME". DescribeKey, RetireGrant and CreateGrant ignore
// them; whoever makes a grant by CreateGrant of another must hold it to the
// constraints of that other.
Decision DecideOnKey(const IamIndex& iam, const Principal& principal,
                     const Request& request, const Document& key_policy,
                     const std::vector<const Grant*>& grants);

// DecideOnAccount: for what has no resource policy (kms:CreateKey, iam:*).
Decision DecideOnAccount(const IamIndex& iam, const Principal& principal,
                         const Request& request);

// IamChange is one difference between two documents, as the iam: action and
// the resource that must be allowed to whoever applies it.
struct IamChange {
  std::string action;       // "iam:AttachUserPolicy", "iam:PassRole", ...
  std::string resource;     // ARN
  std::string description;  // "attach policy AdministratorAccess to user sysadmin"
};
// Diff lists what turns `before` into `after`; each change must be allowed to
// `caller` before `after` may replace `before`. What comes or goes whole counts
// piece by piece: a new group with a policy is iam:CreateGroup and
// iam:AttachGroupPolicy.
//
// Adding to a role's trust is iam:PassRole. When the addition may include
// `caller` (by name, by a group, through the account or everyone), it is
// iam:AttachUserPolicy on the caller besides, because the caller gains the
// role's policies. A new group is also iam:AddUserToGroup, because the members
// of the Unix group of that name join it.
std::vector<IamChange> Diff(const Iam& before, const Iam& after,
                            const std::string& account, const Principal& caller);

}  // namespace keyfold::policy
