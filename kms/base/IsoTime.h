// ISO 8601 dates and times, as policies and the command line write them.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace keyfold {

// A policy must say which zone it means; on the command line none is UTC.
enum class TimeZone { kRequired, kOptional };

// ParseIso8601 reads "2026-01-31", or "2026-01-31T12:00", with seconds and a
// fraction (digits behind the sixth are ignored) if wanted, and "Z" or "+01:00"
// behind a time of day. A date alone is its midnight, UTC.
std::optional<std::chrono::sys_time<std::chrono::microseconds>> ParseIso8601(
    std::string_view text, TimeZone zone);

}  // namespace keyfold
