// The key policy that the AWS console would make.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace keyfold {

struct KeyPolicyOptions {
  std::vector<std::string> administrators;  // "user:cfo", "group:finance", ARNs
  std::vector<std::string> users;
  bool administrators_may_delete = true;
  bool imports_material = false;
  bool makes_macs = false;  // KeyUsage GENERATE_VERIFY_MAC
};

// ConsolePolicy: the account may grant use by IAM policies; administrators manage
// the key; users use it, and may grant it to services on their behalf.
nlohmann::json ConsolePolicy(const KeyPolicyOptions& options);

}  // namespace keyfold
