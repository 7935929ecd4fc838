// CloudTrail: audit records as tools that read AWS CloudTrail expect them.
//
// The fields and their types are those of "CloudTrail record contents" and "CloudTrail
// userIdentity element" in the AWS CloudTrail User Guide. Must not know: where records
// come from. Free functions, thread-safe.
#pragma once

#include <nlohmann/json.hpp>

namespace keyfold {

// CloudTrailEvent keeps what CloudTrail has no field for in additionalEventData.
nlohmann::json CloudTrailEvent(const nlohmann::json& record);

}  // namespace keyfold
