#include "policy/model/Wildcard.h"

#include <array>
#include <functional>
#include <optional>

namespace keyfold::policy {
namespace {

// Each '*' first stands for nothing and takes one character more whenever what
// follows does not fit. Only the last '*' need be tried again.
template <typename Same>
bool MatchWith(std::string_view pattern, std::string_view text, Same same) {
  size_t p = 0, t = 0;
  size_t star = pattern.npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || same(pattern[p], text[t]))) {
      ++p, ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::optional<std::array<std::string_view, 6>> SplitArn(std::string_view arn) {
  std::array<std::string_view, 6> parts;
  for (size_t i = 0; i < 5; ++i) {
    const size_t colon = arn.find(':');
    if (colon == arn.npos) return std::nullopt;
    parts[i] = arn.substr(0, colon);
    arn.remove_prefix(colon + 1);
  }
  parts[5] = arn;
  return parts;
}

}  // namespace

bool MatchWildcard(std::string_view pattern, std::string_view text) {
  return MatchWith(pattern, text, std::equal_to<>());
}

bool MatchWildcardIgnoreCase(std::string_view pattern, std::string_view text) {
  return MatchWith(pattern, text,
                   [](char a, char b) { return AsciiLower(a) == AsciiLower(b); });
}

bool MatchArn(std::string_view pattern, std::string_view arn) {
  const auto have = SplitArn(arn);
  if (!have) return false;
  if (pattern == "*") return true;
  const auto want = SplitArn(pattern);
  if (!want) return false;
  for (size_t i = 0; i < want->size(); ++i)
    if (!MatchWildcard((*want)[i], (*have)[i])) return false;
  return true;
}

}  // namespace keyfold::policy
