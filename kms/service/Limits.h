// The limits of the schema, applied to a request.
//
// Owns: how lengths are counted and patterns read, in the words of AWS's refusals.
// Must not know: what the members mean. Free functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "kms/base/Status.h"
#include "kms/service/Schema.h"

namespace keyfold {

// CheckLimits is kValidation, naming the member, for a value outside the limits of
// `parameter`; the value is of its kind.
Status CheckLimits(const Parameter& parameter, const nlohmann::json& value);
// CheckText is the same for one text.
Status CheckText(std::string_view name, const std::string& text, const Limits& limits);
// "KeyId" -> "keyId", as CloudTrail writes names.
std::string LowerCamel(std::string_view name);

}  // namespace keyfold
