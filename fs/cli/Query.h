// --query: the part of JMESPath that scripts use most.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "kms/base/Status.h"

namespace keyfold {

// Query follows "Keys[0].KeyId", "Aliases[].AliasName", "Keys[-1]": names joined
// by dots, [N] and [] or [*]. What is not there is null. kUsage for more.
Result<nlohmann::json> Query(const nlohmann::json& value, std::string_view path);

}  // namespace keyfold
