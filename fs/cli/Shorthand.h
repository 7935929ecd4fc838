// The AWS CLI's shorthand for structures: "TagKey=a,TagValue=b",
// "EncryptionContextSubset={department=finance}", "Operations=[Encrypt,Decrypt]".
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "kms/base/Status.h"

namespace keyfold {

// ParseShorthand returns an object whose leaves are strings. "key=a,b" is a list
// of two. Values that hold a comma are quoted. kUsage says what is wrong, where.
Result<nlohmann::json> ParseShorthand(std::string_view text);

}  // namespace keyfold
