#include <algorithm>
#include <atomic>

#include "policy/engine/Engine.h"

namespace keyfold::policy {
namespace {

bool Contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

namespace {

uint64_t NextNumber() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

IamIndex::IamIndex(Iam iam, std::string account)
    : number_(NextNumber()),
      iam_(std::move(iam)),
      account_(std::move(account)),
      root_arn_(RootArn(account_)) {
  // A name that is neither managed nor the customer's grants nothing.
  const auto attach = [&](const std::string& arn, const std::string& holder,
                          const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const auto managed = ManagedPolicies().find(name);
      if (managed != ManagedPolicies().end()) {
        if (name != kAccountRootPolicy)
          attached_[arn].push_back({&managed->second, holder});
        continue;
      }
      const auto own = iam_.policies.find(name);
      if (own != iam_.policies.end()) attached_[arn].push_back({&own->second, holder});
    }
  };
  for (const auto& [name, user] : iam_.users)
    attach(UserArn(account_, name), "user " + name, user.policies);
  for (const auto& [name, group] : iam_.groups)
    attach(GroupArn(account_, name), "group " + name, group.policies);
  for (const auto& [name, role] : iam_.roles)
    attach(RoleArn(account_, name), "role " + name, role.policies);
}

Principal IamIndex::User(const std::string& name,
                         const std::vector<std::string>& unix_groups) const {
  Principal principal;
  principal.arn = UserArn(account_, name);
  principal.user_name = name;
  const auto join = [&](const std::string& group) {
    if (!iam_.groups.contains(group)) return;
    std::string arn = GroupArn(account_, group);
    if (!Contains(principal.group_arns, arn))
      principal.group_arns.push_back(std::move(arn));
  };
  const auto user = iam_.users.find(name);
  if (user != iam_.users.end()) {
    principal.tags = user->second.tags;
    for (const std::string& group : user->second.groups) join(group);
  }
  if (HasGroups())
    for (const std::string& group : unix_groups) join(group);
  return principal;
}

Principal IamIndex::Service() const {
  Principal principal;
  principal.arn = ServiceArn(account_);
  principal.user_name = "keyfold";
  principal.is_service = true;
  return principal;
}

bool IamIndex::AssumeRole(const std::string& role, const Principal& caller,
                          Principal* out) const {
  const auto found = iam_.roles.find(role);
  if (found == iam_.roles.end()) return false;
  // Only users assume roles: not roles, and not Keyfold itself.
  if (PrincipalKind(caller.arn) != "user") return false;
  const auto trusts = [&](const std::string& trusted) {
    return trusted == "*" || trusted == root_arn_ || trusted == caller.arn ||
           Contains(caller.group_arns, trusted);
  };
  const auto& trust = found->second.trust;
  if (std::none_of(trust.begin(), trust.end(), trusts)) return false;
  Principal assumed;
  assumed.arn = RoleArn(account_, role);
  assumed.user_name = caller.user_name;
  *out = std::move(assumed);
  return true;
}

std::vector<const Document*> IamIndex::Policies(const Principal& principal) const {
  std::vector<const Document*> policies;
  const auto add = [&](const std::string& arn) {
    for (const Attachment& attachment : AttachedTo(arn))
      policies.push_back(attachment.document);
  };
  add(principal.arn);
  for (const std::string& group : principal.group_arns) add(group);
  if (principal.is_account_root)
    policies.push_back(
        &ManagedPolicies().find(std::string(kAccountRootPolicy))->second);
  return policies;
}

const std::vector<Attachment>& IamIndex::AttachedTo(const std::string& arn) const {
  static const std::vector<Attachment> none;
  const auto found = attached_.find(arn);
  return found == attached_.end() ? none : found->second;
}

}  // namespace keyfold::policy
