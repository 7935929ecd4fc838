// Plain values of authorization: principals, statements, documents, grants.
//
// Owns: the shape of policies, and how principals are named. Must not know:
// files, YAML, how a decision is made. Values; no synchronisation.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "policy/model/LazyContext.h"

namespace keyfold::policy {

enum class Effect { kAllow, kDeny };

// One operator with one key: StringEquals on kms:ViaService = {values}.
// ConditionOperator.h says which operators there are.
struct Condition {
  std::string op;  // "StringEquals", "ForAnyValue:StringLike", "BoolIfExists"
  std::string key;
  std::vector<std::string> values;
  bool operator==(const Condition&) const = default;
};

// Principal patterns are ARNs after parsing ("*" for everyone,
// arn:aws:iam::ACCOUNT:user/NAME, :group/NAME, :role/NAME, :service/keyfold,
// and :root for the account).
struct Statement {
  std::string sid;
  Effect effect = Effect::kDeny;
  std::vector<std::string> principals, not_principals;
  std::vector<std::string> actions, not_actions;      // wildcards * and ?
  std::vector<std::string> resources, not_resources;  // wildcards * and ?
  std::vector<Condition> conditions;
  bool operator==(const Statement&) const = default;
};

struct Document {
  std::string name;  // of an identity policy; empty for a key policy
  std::string id;    // the document's own Id; means nothing to a decision
  std::vector<Statement> statements;
  bool operator==(const Document&) const = default;
};

// A KMS grant, as far as a decision needs it.
struct Grant {
  std::string id, name;
  std::string grantee;  // principal ARN
  std::string retiring_principal;
  std::set<std::string> operations;  // "Decrypt", without the "kms:" prefix
  std::map<std::string, std::string> context_equals, context_subset;
};

// Principal is who asks. Roles replace the user's own policies and groups.
struct Principal {
  std::string arn;        // arn:aws:iam::ACCOUNT:user/cfo or :role/auditor
  std::string user_name;  // Unix name, or "uid:1234" when it has none
  std::vector<std::string> group_arns;
  std::map<std::string, std::string> tags;
  bool is_account_root = false;
  bool is_service = false;  // Keyfold itself: schedulers, metadata
};

struct Request {
  std::string action;    // "kms:Decrypt"
  std::string resource;  // ARN
  LazyContext context;
};

struct IamUser {
  std::vector<std::string> groups, policies;
  std::map<std::string, std::string> tags;
  bool operator==(const IamUser&) const = default;
};
struct IamGroup {
  std::vector<std::string> policies;
  bool operator==(const IamGroup&) const = default;
};
struct IamRole {
  std::vector<std::string> policies;
  std::vector<std::string> trust;  // principal ARNs
  bool operator==(const IamRole&) const = default;
};

// Iam is the account: who exists and what they are granted.
struct Iam {
  std::map<std::string, IamUser> users;
  std::map<std::string, IamGroup> groups;
  std::map<std::string, IamRole> roles;
  std::map<std::string, Document> policies;  // customer-managed only
  bool operator==(const Iam&) const = default;
};

std::string UserArn(std::string_view account, std::string_view name);
std::string GroupArn(std::string_view account, std::string_view name);
std::string RoleArn(std::string_view account, std::string_view name);
std::string PolicyArn(std::string_view account, std::string_view name);
// RootArn stands for the account as a whole, in policies and trust lists.
std::string RootArn(std::string_view account);
// ServiceArn is Keyfold itself, a principal like any other.
std::string ServiceArn(std::string_view account);

// ShortPrincipal is the short form that people write: "user:cfo" for a user's
// ARN, "account", "everyone"; other text comes back as it is.
std::string ShortPrincipal(std::string_view arn);

// PrincipalKind is "user", "group", "role", "service" or "root"; empty for "*" and
// for what is no principal's ARN. A view into `arn`.
std::string_view PrincipalKind(std::string_view arn);

// LooksAt tells whether a condition of the document asks for `key`, in any case.
bool LooksAt(const Document& document, std::string_view key);

// TwiceButForCase is a name that stands among `names` in two spellings; empty if there
// is none. Conditions know names in any case, so the two would be one to them.
std::string TwiceButForCase(const std::map<std::string, std::string>& names);

// EqualsIgnoreCase compares ASCII letters without regard to case.
bool EqualsIgnoreCase(std::string_view a, std::string_view b);

}  // namespace keyfold::policy
