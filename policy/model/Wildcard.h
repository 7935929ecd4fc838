// The wildcards of actions, resources and conditions.
//
// Pure functions. They take no memory; time grows at worst with the product of
// the lengths.
#pragma once

#include <string_view>

namespace keyfold::policy {

constexpr char AsciiLower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
// MatchWildcard: '*' is any run of characters, '?' any one.
bool MatchWildcard(std::string_view pattern, std::string_view text);
// MatchWildcardIgnoreCase is the same for ASCII letters of either case.
bool MatchWildcardIgnoreCase(std::string_view pattern, std::string_view text);
// MatchArn matches the six parts of an ARN one by one, so that a '*' does not
// reach across a colon; the sixth part may hold colons.
bool MatchArn(std::string_view pattern, std::string_view arn);

}  // namespace keyfold::policy
