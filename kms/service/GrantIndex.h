// GrantIndex: the grants of one key, found by who holds them.
//
// A decision looks only at the grants of the principal and its groups, and a change
// copies pointers, not grants. Immutable, thread-safe; what it lends lives as long as
// it does.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kms/service/Records.h"

namespace keyfold {

using GrantRef = std::shared_ptr<const GrantRecord>;

class GrantIndex {
 public:
  GrantIndex() = default;
  explicit GrantIndex(std::vector<GrantRef> grants);

  // In the order of grantee and id.
  const std::vector<GrantRef>& all() const { return grants_; }
  // HeldBy are the grants to the principal itself and to its groups.
  std::vector<const policy::Grant*> HeldBy(const policy::Principal& principal) const;
  // Find is null when there is none of that id.
  GrantRef Find(std::string_view id) const;
  GrantIndex With(GrantRef grant) const;
  GrantIndex Without(std::string_view id) const;

 private:
  std::vector<GrantRef> grants_;
};

}  // namespace keyfold
