#include "fs/cli/Times.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace keyfold {
namespace {

using std::chrono::milliseconds;

// Digits takes exactly `count` digits from the front.
std::optional<int> Digits(std::string_view* text, size_t count) {
  int value = 0;
  if (text->size() < count) return std::nullopt;
  for (size_t i = 0; i < count; ++i) {
    const char c = (*text)[i];
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text->remove_prefix(count);
  return value;
}

bool Skip(std::string_view* text, char c) {
  if (text->empty() || text->front() != c) return false;
  text->remove_prefix(1);
  return true;
}

// Zone takes "Z", "+01:00" or nothing; minutes east of UTC.
std::optional<int> Zone(std::string_view* text) {
  if (text->empty() || Skip(text, 'Z')) return 0;
  const int sign = text->front() == '-' ? -1 : 1;
  if (!Skip(text, '+') && !Skip(text, '-')) return std::nullopt;
  const auto hours = Digits(text, 2);
  (void)Skip(text, ':');
  const auto minutes = Digits(text, 2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 60 + *minutes);
}

std::optional<milliseconds> TimeOfDay(std::string_view* text) {
  const auto hour = Digits(text, 2);
  if (!hour || !Skip(text, ':')) return std::nullopt;
  const auto minute = Digits(text, 2);
  if (!minute || *hour > 23 || *minute > 59) return std::nullopt;
  milliseconds time = std::chrono::hours(*hour) + std::chrono::minutes(*minute);
  if (!Skip(text, ':')) return time;
  const auto second = Digits(text, 2);
  if (!second || *second > 60) return std::nullopt;
  time += std::chrono::seconds(*second);
  if (Skip(text, '.')) {
    int scale = 100;
    while (!text->empty() && text->front() >= '0' && text->front() <= '9') {
      time += milliseconds(scale * (text->front() - '0'));
      scale /= 10;
      text->remove_prefix(1);
    }
  }
  return time;
}

std::optional<TimePoint> ParseIso(std::string_view text) {
  const auto year = Digits(&text, 4);
  if (!year || !Skip(&text, '-')) return std::nullopt;
  const auto month = Digits(&text, 2);
  if (!month || !Skip(&text, '-')) return std::nullopt;
  const auto day = Digits(&text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{
      std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
      std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  TimePoint time = std::chrono::sys_days(date);
  if (text.empty()) return time;
  if (!Skip(&text, 'T') && !Skip(&text, ' ')) return std::nullopt;
  const auto of_day = TimeOfDay(&text);
  if (!of_day) return std::nullopt;
  const auto zone = Zone(&text);
  if (!zone || !text.empty()) return std::nullopt;
  return time + *of_day - std::chrono::minutes(*zone);
}

}  // namespace

std::optional<TimePoint> ParseTime(std::string_view text) {
  double seconds = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size()) {
    if (!(std::abs(seconds) < 1e12)) return std::nullopt;
    return TimePoint(milliseconds(std::llround(seconds * 1000)));
  }
  return ParseIso(text);
}

std::optional<TimePoint> ParseSince(std::string_view text, TimePoint now) {
  if (text.size() >= 2) {
    constexpr std::string_view units = "smhd";
    constexpr int seconds[] = {1, 60, 3600, 86400};
    const size_t unit = units.find(text.back());
    unsigned count = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size() - 1, count);
    if (unit != std::string_view::npos && error == std::errc() &&
        end == text.data() + text.size() - 1 && count < 100'000)
      return now - std::chrono::seconds(int64_t{count} * seconds[unit]);
  }
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
