// Description: what the store's configuration says of its sealed root key, bounded.
//
// Must not know: what a member is for. Free functions, thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// DamagedDescription is kCorrupt and names the member.
Status DamagedDescription(std::string_view member);

// Each is empty when the member is missing or of another kind.
std::optional<std::string> TextMember(const nlohmann::json& object, const char* name);
// BytesMember reads Base64 of `least` to `most` bytes.
std::optional<Bytes> BytesMember(const nlohmann::json& object, const char* name,
                                 size_t least, size_t most);
std::optional<unsigned> SmallMember(const nlohmann::json& object, const char* name);
// PathMember is an absolute path.
std::optional<std::string> PathMember(const nlohmann::json& object, const char* name);

}  // namespace keyfold
