#include "policy/model/ConditionOperator.h"

#include <charconv>
#include <chrono>
#include <cmath>

#include "policy/model/Model.h"

namespace keyfold::policy {
namespace {

struct Named {
  std::string_view name;
  Comparison comparison;
  bool negated;
};

constexpr Named kOperators[] = {
    {"StringEquals", Comparison::kStringEquals, false},
    {"StringNotEquals", Comparison::kStringEquals, true},
    {"StringEqualsIgnoreCase", Comparison::kStringEqualsIgnoreCase, false},
    {"StringNotEqualsIgnoreCase", Comparison::kStringEqualsIgnoreCase, true},
    {"StringLike", Comparison::kStringLike, false},
    {"StringNotLike", Comparison::kStringLike, true},
    {"Bool", Comparison::kBool, false},
    {"NumericEquals", Comparison::kNumericEquals, false},
    {"NumericNotEquals", Comparison::kNumericEquals, true},
    {"NumericLessThan", Comparison::kNumericLessThan, false},
    {"NumericLessThanEquals", Comparison::kNumericLessThanEquals, false},
    {"NumericGreaterThan", Comparison::kNumericGreaterThan, false},
    {"NumericGreaterThanEquals", Comparison::kNumericGreaterThanEquals, false},
    {"DateEquals", Comparison::kDateEquals, false},
    {"DateNotEquals", Comparison::kDateEquals, true},
    {"DateLessThan", Comparison::kDateLessThan, false},
    {"DateLessThanEquals", Comparison::kDateLessThanEquals, false},
    {"DateGreaterThan", Comparison::kDateGreaterThan, false},
    {"DateGreaterThanEquals", Comparison::kDateGreaterThanEquals, false},
    {"ArnEquals", Comparison::kArnLike, false},
    {"ArnLike", Comparison::kArnLike, false},
    {"ArnNotEquals", Comparison::kArnLike, true},
    {"ArnNotLike", Comparison::kArnLike, true},
    {"Null", Comparison::kNull, false},
};

bool Consume(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

// Digits takes exactly `count` decimal digits from the front.
std::optional<int> Digits(std::string_view* text, size_t count) {
  if (text->size() < count) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < count; ++i) {
    const char c = (*text)[i];
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text->remove_prefix(count);
  return value;
}

// Offset reads "Z" or "+hh:mm" at the end of a date, into seconds.
std::optional<int> Offset(std::string_view text) {
  if (text == "Z") return 0;
  if (text.empty() || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  const int sign = text[0] == '+' ? 1 : -1;
  text.remove_prefix(1);
  auto hours = Digits(&text, 2);
  if (!hours || *hours > 23 || !Consume(&text, ":")) return std::nullopt;
  auto minutes = Digits(&text, 2);
  if (!minutes || *minutes > 59 || !text.empty()) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60);
}

// Time reads "hh:mm[:ss[.fraction]]" and the zone behind it, into seconds.
std::optional<double> Time(std::string_view text) {
  auto hours = Digits(&text, 2);
  if (!hours || *hours > 23 || !Consume(&text, ":")) return std::nullopt;
  auto minutes = Digits(&text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  double seconds = *hours * 3600 + *minutes * 60;
  if (Consume(&text, ":")) {
    auto whole = Digits(&text, 2);
    if (!whole || *whole > 60) return std::nullopt;
    seconds += *whole;
    if (Consume(&text, ".")) {
      double scale = 0.1;
      size_t digits = 0;
      for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9';
           ++digits, scale /= 10)
        seconds += (text[digits] - '0') * scale;
      if (digits == 0) return std::nullopt;
      text.remove_prefix(digits);
    }
  }
  auto offset = Offset(text);
  if (!offset) return std::nullopt;
  return seconds - *offset;
}

}  // namespace

std::optional<ConditionOperator> ParseConditionOperator(std::string_view name) {
  ConditionOperator result;
  if (Consume(&name, "ForAnyValue:"))
    result.set = ConditionOperator::Set::kAnyValue;
  else if (Consume(&name, "ForAllValues:"))
    result.set = ConditionOperator::Set::kAllValues;
  constexpr std::string_view kIfExists = "IfExists";
  if (name.ends_with(kIfExists)) {
    result.if_exists = true;
    name.remove_suffix(kIfExists.size());
  }
  for (const Named& named : kOperators) {
    if (named.name != name) continue;
    const bool bare = !result.if_exists && result.set == ConditionOperator::Set::kNone;
    if (named.comparison == Comparison::kNull && !bare) return std::nullopt;
    result.comparison = named.comparison;
    result.negated = named.negated;
    return result;
  }
  return std::nullopt;
}

std::string_view ConditionValueKind(Comparison comparison) {
  switch (comparison) {
    case Comparison::kStringEquals:
    case Comparison::kStringEqualsIgnoreCase:
    case Comparison::kStringLike:
    case Comparison::kArnLike:
      return "";
    case Comparison::kBool:
    case Comparison::kNull:
      return "true or false";
    case Comparison::kNumericEquals:
    case Comparison::kNumericLessThan:
    case Comparison::kNumericLessThanEquals:
    case Comparison::kNumericGreaterThan:
    case Comparison::kNumericGreaterThanEquals:
      return "a number";
    case Comparison::kDateEquals:
    case Comparison::kDateLessThan:
    case Comparison::kDateLessThanEquals:
    case Comparison::kDateGreaterThan:
    case Comparison::kDateGreaterThanEquals:
      return "a date such as 2026-01-31T12:00:00Z";
  }
  return "";
}

bool ValidConditionValue(Comparison comparison, std::string_view text) {
  const std::string_view kind = ConditionValueKind(comparison);
  if (kind.empty()) return true;
  if (kind == "true or false") return ParseBool(text).has_value();
  if (kind == "a number") return ParseNumber(text).has_value();
  return ParseDate(text).has_value();
}

std::optional<double> ParseNumber(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<double> ParseDate(std::string_view text) {
  std::string_view rest = text;
  auto year = Digits(&rest, 4);
  if (!year || !Consume(&rest, "-")) return ParseNumber(text);
  auto month = Digits(&rest, 2);
  if (!month || !Consume(&rest, "-")) return std::nullopt;
  auto day = Digits(&rest, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{
      std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
      std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const double midnight =
      static_cast<double>(std::chrono::sys_days(date).time_since_epoch().count()) *
      86400;
  if (rest.empty()) return midnight;
  if (!Consume(&rest, "T")) return std::nullopt;
  auto time = Time(rest);
  if (!time) return std::nullopt;
  return midnight + *time;
}

std::optional<bool> ParseBool(std::string_view text) {
  if (EqualsIgnoreCase(text, "true")) return true;
  if (EqualsIgnoreCase(text, "false")) return false;
  return std::nullopt;
}

}  // namespace keyfold::policy
