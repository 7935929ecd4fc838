// One call of `keyfold kms`, from words to the printed answer.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fs/cli/Connection.h"
#include "fs/cli/Output.h"
#include "kms/service/Schema.h"

namespace keyfold {

// CreateKeyExtras are the options of create-key that AWS lacks.
struct CreateKeyExtras {
  std::string alias;
  std::vector<std::string> administrators, users;
  std::optional<bool> allow_deletion;
};

struct KmsWords {
  std::map<std::string, std::vector<std::string>> values;  // by parameter name
  std::map<std::string, bool> switches;
  std::string input_json;  // --cli-input-json
  bool no_paginate = false;
  CreateKeyExtras extras;
};

// RequestOf makes the request; kUsage when a required parameter is missing.
Result<nlohmann::json> RequestOf(const Operation& operation, const KmsWords& words);
// CallAllPages follows NextMarker when the request asked for no certain page.
Result<nlohmann::json> CallAllPages(Connection& connection, const Operation& operation,
                                    nlohmann::json request, bool paginate);
// RunKms does the call and prints; returns the exit code.
int RunKms(const Operation& operation, const KmsWords& words,
           const TargetOptions& target, const OutputOptions& output);

}  // namespace keyfold
