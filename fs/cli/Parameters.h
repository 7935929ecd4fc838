// Words of the command line into the JSON of a request, as the AWS CLI reads
// them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kms/base/Status.h"
#include "kms/service/Schema.h"

namespace keyfold {

// ParseParameter: `values` are the words behind --name. "file://FILE" stands for
// the file's text, "fileb://FILE" for its bytes (blobs only). kUsage, kSystem.
Result<nlohmann::json> ParseParameter(const Parameter& parameter,
                                      const std::vector<std::string>& values);
// ReadTextFile reads a file of at most `limit` bytes.
Result<std::string> ReadTextFile(const std::string& path, size_t limit);

}  // namespace keyfold
