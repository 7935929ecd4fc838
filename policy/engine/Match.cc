#include "policy/engine/Match.h"

#include <functional>
#include <optional>

#include "policy/model/ConditionOperator.h"
#include "policy/model/Wildcard.h"

namespace keyfold::policy {
namespace {

using Values = std::vector<std::string>;

bool AnyMatches(const Values& patterns, std::string_view text,
                bool (*match)(std::string_view, std::string_view)) {
  for (const std::string& pattern : patterns)
    if (match(pattern, text)) return true;
  return false;
}

template <typename T, typename Compare>
bool CompareParsed(std::optional<T> have, std::optional<T> want, Compare compare) {
  return have && want && compare(*have, *want);
}

// Compare is the positive operator on one value of the request (`have`) and one
// of the policy (`want`). Values that can't be read compare as unlike.
bool Compare(Comparison comparison, std::string_view have, std::string_view want) {
  const auto numbers = [&](auto compare) {
    return CompareParsed(ParseNumber(have), ParseNumber(want), compare);
  };
  const auto dates = [&](auto compare) {
    return CompareParsed(ParseDate(have), ParseDate(want), compare);
  };
  switch (comparison) {
    case Comparison::kStringEquals:
      return have == want;
    case Comparison::kStringEqualsIgnoreCase:
      return EqualsIgnoreCase(have, want);
    case Comparison::kStringLike:
      return MatchWildcard(want, have);
    case Comparison::kBool:
      return CompareParsed(ParseBool(have), ParseBool(want), std::equal_to<>());
    case Comparison::kNumericEquals:
      return numbers(std::equal_to<>());
    case Comparison::kNumericLessThan:
      return numbers(std::less<>());
    case Comparison::kNumericLessThanEquals:
      return numbers(std::less_equal<>());
    case Comparison::kNumericGreaterThan:
      return numbers(std::greater<>());
    case Comparison::kNumericGreaterThanEquals:
      return numbers(std::greater_equal<>());
    case Comparison::kDateEquals:
      return dates(std::equal_to<>());
    case Comparison::kDateLessThan:
      return dates(std::less<>());
    case Comparison::kDateLessThanEquals:
      return dates(std::less_equal<>());
    case Comparison::kDateGreaterThan:
      return dates(std::greater<>());
    case Comparison::kDateGreaterThanEquals:
      return dates(std::greater_equal<>());
    case Comparison::kArnLike:
      return MatchArn(want, have);
    case Comparison::kNull:
      return false;  // about presence; never asked of a value
  }
  return false;
}

bool AnyEquals(Comparison comparison, std::string_view have, const Values& wants) {
  for (const std::string& want : wants)
    if (Compare(comparison, have, want)) return true;
  return false;
}

bool HoldsForValues(const ConditionOperator& op, const Values& haves,
                    const Values& wants) {
  const auto one = [&](const std::string& have) {
    return AnyEquals(op.comparison, have, wants) != op.negated;
  };
  // Without a prefix a negated operator holds only if none of the values is
  // like the policy's; a positive one if any is.
  const bool all = op.set == ConditionOperator::Set::kAllValues ||
                   (op.set == ConditionOperator::Set::kNone && op.negated);
  for (const std::string& have : haves)
    if (one(have) != all) return !all;
  return all;
}

// HoldsWithoutKey is AWS's rule for a key that the request lacks.
bool HoldsWithoutKey(const ConditionOperator& op) {
  switch (op.set) {
    case ConditionOperator::Set::kAnyValue:
      return false;
    case ConditionOperator::Set::kAllValues:
      return true;
    case ConditionOperator::Set::kNone:
      return op.negated || op.if_exists;
  }
  return false;
}

// Found is the values of a key: the context's own, or one made from the asker.
class Found {
 public:
  void Refer(const Values& values) { borrowed_ = &values; }
  void Make(std::string_view value) { own_ = {std::string(value)}, borrowed_ = &own_; }
  // Null when the request lacks the key; an empty list counts as lacking.
  const Values* values() const {
    return borrowed_ != nullptr && borrowed_->empty() ? nullptr : borrowed_;
  }

 private:
  Values own_;
  const Values* borrowed_ = nullptr;
};

constexpr std::string_view kPrincipalPrefix = "aws:Principal";
constexpr std::string_view kTagPrefix = "aws:PrincipalTag/";

bool StartsIgnoreCase(std::string_view text, std::string_view prefix) {
  return EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

// FromAsker finds a key about the principal. True if the key is of that kind,
// found or not.
bool FromAsker(std::string_view key, const Asker& asker, Found* found) {
  const Principal& principal = *asker.principal;
  const bool role = PrincipalKind(principal.arn) == "role";
  if (EqualsIgnoreCase(key, "aws:username")) {
    if (!role && !principal.is_service) found->Make(principal.user_name);
    return true;
  }
  if (!StartsIgnoreCase(key, kPrincipalPrefix)) return false;
  if (StartsIgnoreCase(key, kTagPrefix)) {
    const std::string_view name = key.substr(kTagPrefix.size());
    for (const auto& [tag, value] : principal.tags)
      if (EqualsIgnoreCase(tag, name)) found->Make(value);
    return true;
  }
  if (EqualsIgnoreCase(key, "aws:PrincipalArn"))
    return found->Make(principal.arn), true;
  if (EqualsIgnoreCase(key, "aws:PrincipalAccount"))
    return found->Make(asker.account), true;
  if (EqualsIgnoreCase(key, "aws:PrincipalType")) {
    if (!principal.is_service) found->Make(role ? "AssumedRole" : "User");
    return true;
  }
  return false;
}

void FromContext(const std::string& key, const Context& context, Found* found) {
  auto exact = context.find(key);
  if (exact != context.end()) return found->Refer(exact->second);
  for (const auto& [name, values] : context)
    if (EqualsIgnoreCase(name, key)) return found->Refer(values);
}

bool Holds(const Condition& condition, bool unreadable, const Request& request,
           const Asker& asker) {
  const auto op = ParseConditionOperator(condition.op);
  if (!op) return unreadable;
  Found found;
  if (!FromAsker(condition.key, asker, &found))
    FromContext(condition.key, request.context.get(), &found);
  const Values* haves = found.values();
  if (op->comparison == Comparison::kNull)
    return AnyEquals(Comparison::kBool, haves == nullptr ? "true" : "false",
                     condition.values);
  if (haves == nullptr) return HoldsWithoutKey(*op);
  return HoldsForValues(*op, *haves, condition.values);
}

}  // namespace

bool MatchAction(const Statement& statement, const Request& request) {
  if (!statement.not_actions.empty()) {
    if (AnyMatches(statement.not_actions, request.action, MatchWildcardIgnoreCase))
      return false;
  } else if (!AnyMatches(statement.actions, request.action, MatchWildcardIgnoreCase)) {
    return false;
  }
  if (!statement.not_resources.empty())
    return !AnyMatches(statement.not_resources, request.resource, MatchWildcard);
  return AnyMatches(statement.resources, request.resource, MatchWildcard);
}

bool MatchConditions(const Statement& statement, const Request& request,
                     const Asker& asker) {
  const bool unreadable = statement.effect == Effect::kDeny;
  for (const Condition& condition : statement.conditions)
    if (!Holds(condition, unreadable, request, asker)) return false;
  return true;
}

}  // namespace keyfold::policy
