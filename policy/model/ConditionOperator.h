// The condition operators of the policy language, and the values they compare.
//
// Owns: operators' names and the reading of numbers, dates and booleans. Must
// not know: requests. Pure functions.
// Source: AWS IAM User Guide, "IAM JSON policy elements: Condition operators".
#pragma once

#include <optional>
#include <string_view>

namespace keyfold::policy {

enum class Comparison {
  kStringEquals,
  kStringEqualsIgnoreCase,
  kStringLike,
  kBool,
  kNumericEquals,
  kNumericLessThan,
  kNumericLessThanEquals,
  kNumericGreaterThan,
  kNumericGreaterThanEquals,
  kDateEquals,
  kDateLessThan,
  kDateLessThanEquals,
  kDateGreaterThan,
  kDateGreaterThanEquals,
  kArnLike,  // ArnEquals too: AWS gives both the same meaning
  kNull,
};

struct ConditionOperator {
  enum class Set { kNone, kAnyValue, kAllValues };
  Comparison comparison = Comparison::kStringEquals;
  bool negated = false;
  bool if_exists = false;
  Set set = Set::kNone;
};

// ParseConditionOperator reads "ForAnyValue:StringNotLike" or "BoolIfExists".
// Null takes neither prefix nor suffix. Nothing for any other text.
std::optional<ConditionOperator> ParseConditionOperator(std::string_view name);

// ConditionValueKind says which values an operator takes: "a number",
// "a date", "true or false"; empty when any text will do.
std::string_view ConditionValueKind(Comparison comparison);
// ValidConditionValue tells whether `text` is of that kind.
bool ValidConditionValue(Comparison comparison, std::string_view text);

// ParseNumber reads a decimal number; not infinities.
std::optional<double> ParseNumber(std::string_view text);
// ParseDate reads ISO 8601 ("2026-01-31", "2026-01-31T12:00:00.5Z", "+02:00")
// or seconds since 1970, into seconds since 1970.
std::optional<double> ParseDate(std::string_view text);
std::optional<bool> ParseBool(std::string_view text);

}  // namespace keyfold::policy
