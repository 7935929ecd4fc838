#include "kms/base/IsoTime.h"

namespace keyfold {
namespace {

using std::chrono::microseconds;

bool Skip(std::string_view* text, char c) {
  if (!text->starts_with(c)) return false;
  text->remove_prefix(1);
  return true;
}

// Digits takes exactly `count` decimal digits from the front, for a number of at
// most `most`.
std::optional<int> Digits(std::string_view* text, size_t count, int most) {
  if (text->size() < count) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < count; ++i) {
    const char c = (*text)[i];
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text->remove_prefix(count);
  return value <= most ? std::optional(value) : std::nullopt;
}

std::optional<std::chrono::sys_days> Date(std::string_view* text) {
  const auto year = Digits(text, 4, 9999);
  if (!year || !Skip(text, '-')) return std::nullopt;
  const auto month = Digits(text, 2, 12);
  if (!month || !Skip(text, '-')) return std::nullopt;
  const auto day = Digits(text, 2, 31);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{
      std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
      std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date);
}

std::optional<microseconds> Fraction(std::string_view* text) {
  microseconds sum{0};
  int scale = 100'000;
  size_t digits = 0;
  for (; digits < text->size() && (*text)[digits] >= '0' && (*text)[digits] <= '9';
       ++digits, scale /= 10)
    sum += microseconds(scale * ((*text)[digits] - '0'));
  text->remove_prefix(digits);
  return digits == 0 ? std::nullopt : std::optional(sum);
}

std::optional<microseconds> TimeOfDay(std::string_view* text) {
  const auto hours = Digits(text, 2, 23);
  if (!hours || !Skip(text, ':')) return std::nullopt;
  const auto minutes = Digits(text, 2, 59);
  if (!minutes) return std::nullopt;
  microseconds time = std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
  if (!Skip(text, ':')) return time;
  const auto seconds = Digits(text, 2, 60);  // 60: a leap second
  if (!seconds) return std::nullopt;
  time += std::chrono::seconds(*seconds);
  if (!Skip(text, '.')) return time;
  const auto fraction = Fraction(text);
  if (!fraction) return std::nullopt;
  return time + *fraction;
}

// Offset reads "Z" or "+hh:mm": how far the zone is east of UTC.
std::optional<std::chrono::minutes> Offset(std::string_view text) {
  if (text == "Z") return std::chrono::minutes(0);
  const int sign = text.starts_with('-') ? -1 : 1;
  if (!Skip(&text, '+') && !Skip(&text, '-')) return std::nullopt;
  const auto hours = Digits(&text, 2, 23);
  if (!hours || !Skip(&text, ':')) return std::nullopt;
  const auto minutes = Digits(&text, 2, 59);
  if (!minutes || !text.empty()) return std::nullopt;
  return std::chrono::minutes(sign * (*hours * 60 + *minutes));
}

}  // namespace

std::optional<std::chrono::sys_time<microseconds>> ParseIso8601(std::string_view text,
                                                                TimeZone zone) {
  const auto date = Date(&text);
  if (!date || text.empty()) return date;
  if (!Skip(&text, 'T')) return std::nullopt;
  const auto time = TimeOfDay(&text);
  if (!time) return std::nullopt;
  if (text.empty() && zone == TimeZone::kOptional) return *date + *time;
  const auto offset = Offset(text);
  if (!offset) return std::nullopt;
  return *date + *time - *offset;
}

}  // namespace keyfold
