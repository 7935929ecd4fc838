#include "policy/model/ConditionOperator.h"

#include <charconv>
#include <chrono>
#include <cmath>

#include "kms/base/IsoTime.h"
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
  const auto time = ParseIso8601(text, TimeZone::kRequired);
  if (!time) return ParseNumber(text);
  return std::chrono::duration<double>(time->time_since_epoch()).count();
}

std::optional<bool> ParseBool(std::string_view text) {
  if (EqualsIgnoreCase(text, "true")) return true;
  if (EqualsIgnoreCase(text, "false")) return false;
  return std::nullopt;
}

}  // namespace keyfold::policy
