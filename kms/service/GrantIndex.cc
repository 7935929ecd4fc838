#include "kms/service/GrantIndex.h"

#include <algorithm>
#include <tuple>

namespace keyfold {
namespace {

bool Before(const GrantRef& a, const GrantRef& b) {
  return std::tie(a->grant.grantee, a->grant.id) <
         std::tie(b->grant.grantee, b->grant.id);
}

}  // namespace

GrantIndex::GrantIndex(std::vector<GrantRef> grants) : grants_(std::move(grants)) {
  std::sort(grants_.begin(), grants_.end(), Before);
}

std::vector<const policy::Grant*> GrantIndex::HeldBy(
    const policy::Principal& principal) const {
  std::vector<const policy::Grant*> held;
  if (grants_.empty()) return held;
  const auto add = [&](const std::string& grantee) {
    auto it = std::lower_bound(grants_.begin(), grants_.end(), grantee,
                               [](const GrantRef& grant, const std::string& name) {
                                 return grant->grant.grantee < name;
                               });
    for (; it != grants_.end() && (*it)->grant.grantee == grantee; ++it)
      held.push_back(&(*it)->grant);
  };
  add(principal.arn);
  for (const std::string& group : principal.group_arns) add(group);
  return held;
}

GrantRef GrantIndex::Find(std::string_view id) const {
  for (const GrantRef& grant : grants_)
    if (grant->grant.id == id) return grant;
  return nullptr;
}

GrantIndex GrantIndex::With(GrantRef grant) const {
  GrantIndex next;
  next.grants_.reserve(grants_.size() + 1);
  next.grants_ = grants_;
  next.grants_.insert(
      std::upper_bound(next.grants_.begin(), next.grants_.end(), grant, Before),
      std::move(grant));
  return next;
}

GrantIndex GrantIndex::Without(std::string_view id) const {
  GrantIndex next = *this;
  std::erase_if(next.grants_,
                [&](const GrantRef& grant) { return grant->grant.id == id; });
  return next;
}

}  // namespace keyfold
