// Times on the command line.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "kms/base/Clock.h"

namespace keyfold {

// ParseTime reads ISO 8601 ("2026-01-31", "2026-01-31T12:00:00Z", "...+01:00";
// without a zone: UTC) or seconds since 1970.
std::optional<TimePoint> ParseTime(std::string_view text);
// ParseSpan reads a time span: "90s", "10m", "2h", "3d". Nothing for none, and for
// 100,000 of a unit and more.
std::optional<std::chrono::seconds> ParseSpan(std::string_view text);
// ParseSince reads a time, or a time span before `now`.
std::optional<TimePoint> ParseSince(std::string_view text, TimePoint now);
// IsoTime renders seconds since 1970 as the AWS CLI does:
// "2026-01-31T12:00:00.250000+00:00".
std::string IsoTime(double seconds);

}  // namespace keyfold
