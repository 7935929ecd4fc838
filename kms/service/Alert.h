// Alert: what somebody is to be told of, and how. A plain value.
#pragma once

#include <string>
#include <vector>

#include "policy/model/AlertRules.h"

namespace keyfold {

struct Alert {
  std::string name;    // of the rule
  std::string line;    // for people: name, message, keys
  std::string record;  // the record that raised it: one JSON object
  std::vector<policy::AlertAction> actions;
};

}  // namespace keyfold
