#include "fs/cli/Times.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "kms/base/IsoTime.h"

namespace keyfold {
using std::chrono::milliseconds;

std::optional<TimePoint> ParseTime(std::string_view text) {
  double seconds = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size()) {
    if (!(std::abs(seconds) < 1e12)) return std::nullopt;
    return TimePoint(milliseconds(std::llround(seconds * 1000)));
  }
  const auto time = ParseIso8601(text, TimeZone::kOptional);
  if (!time) return std::nullopt;
  return std::chrono::floor<milliseconds>(*time);
}

std::optional<std::chrono::seconds> ParseSpan(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  constexpr std::string_view units = "smhd";
  constexpr int seconds[] = {1, 60, 3600, 86400};
  const size_t unit = units.find(text.back());
  unsigned count = 0;
  const char* last = text.data() + text.size() - 1;
  const auto [end, error] = std::from_chars(text.data(), last, count);
  if (unit == std::string_view::npos || error != std::errc() || end != last ||
      count >= 100'000)
    return std::nullopt;
  return std::chrono::seconds(int64_t{count} * seconds[unit]);
}

std::optional<TimePoint> ParseSince(std::string_view text, TimePoint now) {
  if (const auto span = ParseSpan(text)) return now - *span;
  return ParseTime(text);
}

std::string IsoTime(double seconds) {
  const auto micro = static_cast<int64_t>(std::llround(seconds * 1e6));
  const auto whole = std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::microseconds>(
          std::chrono::microseconds(micro)));
  std::string out = FormatUtc(whole);
  out.pop_back();  // the Z
  const int64_t rest = micro - whole.time_since_epoch().count() * 1'000'000;
  if (rest != 0) {
    char fraction[16];
    std::snprintf(fraction, sizeof fraction, ".%06d", static_cast<int>(rest));
    out += fraction;
  }
  return out + "+00:00";
}

}  // namespace keyfold
