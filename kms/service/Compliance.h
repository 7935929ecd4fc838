// Compliance: what the state of keys is held against, whoever changed it and when.
//
// Must not know: how the outcome is kept or told. Free functions, thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kms/service/Invocation.h"

namespace keyfold {

struct ComplianceFinding {
  std::string rule;      // "key-not-scheduled-for-deletion"
  std::string resource;  // key ARN, or key ARN and grant id
  bool compliant = true;
  std::string reason;

  std::string Name() const { return rule + " " + resource; }
};

// CheckCompliance judges each key and grant by each rule that concerns it.
std::vector<ComplianceFinding> CheckCompliance(const State& state,
                                               const Account& account,
                                               const policy::ComplianceLimits& limits,
                                               const Activity& activity, TimePoint now);

}  // namespace keyfold
