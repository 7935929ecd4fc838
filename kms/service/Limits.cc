#include "kms/service/Limits.h"

#include <algorithm>
#include <charconv>

#include "kms/base/Bytes.h"

namespace keyfold {
namespace {

using nlohmann::json;

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// TakeCodePoint takes one off the front of `text`, which is UTF-8.
uint32_t TakeCodePoint(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const int bits = lead < 0x80 ? 7 : lead < 0xe0 ? 5 : lead < 0xf0 ? 4 : 3;
  uint32_t code = lead & ((1u << bits) - 1);
  for (text.remove_prefix(1); !text.empty() && Continues(text[0]);
       text.remove_prefix(1))
    code = code << 6 | (static_cast<unsigned char>(text[0]) & 0x3f);
  return code;
}

// TakeBound takes one end of a range off a class of characters: itself, or \uXXXX.
uint32_t TakeBound(std::string_view& items) {
  constexpr size_t kEscape = 6;
  uint32_t code = static_cast<unsigned char>(items[0]);
  if (!items.starts_with("\\u")) return items.remove_prefix(1), code;
  std::from_chars(items.data() + 2, items.data() + kEscape, code, 16);
  return items.remove_prefix(kEscape), code;
}

bool IsWordCharacter(uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         c == '_';
}

bool IsSpace(uint32_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// IsInClass tells whether `c` is of the class "a-z\w\s\u0020-\u00FF", without brackets.
bool IsInClass(uint32_t c, std::string_view items) {
  while (!items.empty()) {
    if (items.starts_with("\\w")) {
      if (IsWordCharacter(c)) return true;
      items.remove_prefix(2);
      continue;
    }
    if (items.starts_with("\\s")) {
      if (IsSpace(c)) return true;
      items.remove_prefix(2);
      continue;
    }
    const uint32_t low = TakeBound(items);
    uint32_t high = low;
    if (items.size() > 1 && items[0] == '-') {
      items.remove_prefix(1);
      high = TakeBound(items);
    }
    if (low <= c && c <= high) return true;
  }
  return false;
}

bool MatchesPattern(std::string_view text, std::string_view pattern) {
  const std::string_view items = pattern.substr(1, pattern.rfind(']') - 1);
  while (!text.empty())
    if (!IsInClass(TakeCodePoint(text), items)) return false;
  return true;
}

std::string SizeRule(const char* what, int64_t size, const Limits& limits) {
  if (limits.most == 0 || (size >= limits.least && size <= limits.most)) return {};
  return std::string("Member must have ") + what +
         (size < limits.least ? " greater than or equal to "
                              : " less than or equal to ") +
         std::to_string(size < limits.least ? limits.least : limits.most);
}

std::string ListOf(std::span<const std::string_view> values) {
  std::string list;
  for (std::string_view value : values)
    list += (list.empty() ? "" : ", ") + std::string(value);
  return list;
}

// Rule is what a value breaks, in AWS's words; empty if nothing.
struct Rule {
  std::string text;
  bool quotes = false;  // the value is short, and no secret
};

Rule TextRule(const std::string& text, const Limits& limits) {
  const auto length =
      static_cast<int64_t>(text.size() - static_cast<size_t>(std::count_if(
                                             text.begin(), text.end(), Continues)));
  if (std::string rule = SizeRule("length", length, limits); !rule.empty())
    return {std::move(rule)};
  if (!limits.pattern.empty() && !MatchesPattern(text, limits.pattern))
    return {"Member must satisfy regular expression pattern: " +
                std::string(limits.pattern),
            true};
  if (!limits.values.empty() && std::find(limits.values.begin(), limits.values.end(),
                                          text) == limits.values.end())
    return {"Member must satisfy enum value set: [" + ListOf(limits.values) + "]",
            true};
  return {};
}

Rule ListRule(const Parameter& parameter, const json& list) {
  if (std::string rule =
          SizeRule("length", static_cast<int64_t>(list.size()), parameter.limits);
      !rule.empty())
    return {std::move(rule)};
  if (parameter.kind != Kind::kStringList) return {};
  for (const json& item : list) {
    const Rule rule = TextRule(item.get_ref<const std::string&>(), parameter.item);
    if (!rule.text.empty())
      return {"Member must satisfy constraint: [" + rule.text + "]"};
  }
  return {};
}

Rule RuleBroken(const Parameter& parameter, const json& value) {
  switch (parameter.kind) {
    case Kind::kString:
      return TextRule(value.get_ref<const std::string&>(), parameter.limits);
    case Kind::kBlob: {
      const auto bytes = FromBase64(value.get_ref<const std::string&>());
      return {SizeRule("length", static_cast<int64_t>(bytes ? bytes->size() : 0),
                       parameter.limits)};
    }
    case Kind::kInteger:
      return {SizeRule("value", value.get<int64_t>(), parameter.limits), true};
    case Kind::kStringList:
    case Kind::kStructureList:
      return ListRule(parameter, value);
    case Kind::kBoolean:
    case Kind::kTimestamp:
    case Kind::kStringMap:
    case Kind::kStructure:
      return {};
  }
  return {};
}

Status Refusal(std::string_view name, const Rule& rule, const json& value) {
  if (rule.text.empty()) return OkStatus();
  constexpr size_t kLongestQuoted = 256;
  std::string quoted = value.is_string() ? value.get<std::string>() : value.dump();
  if (rule.quotes && quoted.size() <= kLongestQuoted)
    quoted = " '" + quoted + "'";
  else
    quoted.clear();
  return {Error::kValidation, "1 validation error detected: Value" + quoted + " at '" +
                                  LowerCamel(name) +
                                  "' failed to satisfy constraint: " + rule.text};
}

}  // namespace

Status CheckLimits(const Parameter& parameter, const json& value) {
  return Refusal(parameter.name, RuleBroken(parameter, value), value);
}

Status CheckText(std::string_view name, const std::string& text, const Limits& limits) {
  return Refusal(name, TextRule(text, limits), text);
}

std::string LowerCamel(std::string_view name) {
  std::string out(name);
  if (!out.empty() && out[0] >= 'A' && out[0] <= 'Z')
    out[0] = static_cast<char>(out[0] - 'A' + 'a');
  return out;
}

}  // namespace keyfold
