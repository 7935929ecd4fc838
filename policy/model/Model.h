// Plain values of authorization: principals, statements, documents, grants.
//
// Owns: the shape of policies. Must not know: files, YAML, how a decision is
// made. Values; no synchronisation.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace keyfold::policy {

// Context carries condition keys ("kms:ViaService") to their values.
using Context = std::map<std::string, std::vector<std::string>>;

enum class Effect { kAllow, kDeny };

// One operator with one key: StringEquals on kms:ViaService = {values}.
struct Condition {
  std::string op;  // "StringEquals", "ForAnyValue:StringLike", "BoolIfExists"
  std::string key;
  std::vector<std::string> values;
};

// Principal patterns are ARNs after parsing ("*" for everyone,
// arn:aws:iam::ACCOUNT:user/NAME, :group/NAME, :role/NAME, :root).
struct Statement {
  std::string sid;
  Effect effect = Effect::kDeny;
  std::vector<std::string> principals, not_principals;
  std::vector<std::string> actions, not_actions;      // wildcards * and ?
  std::vector<std::string> resources, not_resources;  // wildcards * and ?
  std::vector<Condition> conditions;
};

struct Document {
  std::string name;  // of a managed policy; empty for a key policy
  std::vector<Statement> statements;
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
  std::string arn;        // arn:aws:iam::ACCOUNT:user/cfo, :root or :role/auditor
  std::string user_name;  // Unix name, or "uid:1234" when it has none
  std::vector<std::string> group_arns;
  std::map<std::string, std::string> tags;
  bool is_account_root = false;
  bool is_service = false;  // Keyfold itself: schedulers, metadata
};

struct Request {
  std::string action;    // "kms:Decrypt"
  std::string resource;  // ARN
  Context context;
};

struct IamUser {
  std::vector<std::string> groups, policies;
  std::map<std::string, std::string> tags;
};
struct IamGroup {
  std::vector<std::string> policies;
};
struct IamRole {
  std::vector<std::string> policies;
  std::vector<std::string> trust;  // principal ARNs
};

// Iam is the account: who exists and what they are granted.
struct Iam {
  std::map<std::string, IamUser> users;
  std::map<std::string, IamGroup> groups;
  std::map<std::string, IamRole> roles;
  std::map<std::string, Document> policies;  // customer-managed only
};

std::string UserArn(const std::string& account, const std::string& name);
std::string GroupArn(const std::string& account, const std::string& name);
std::string RoleArn(const std::string& account, const std::string& name);
std::string RootArn(const std::string& account);

}  // namespace keyfold::policy
