#include "policy/parse/Parse.h"
#include "policy/parse/YamlTree.h"

namespace keyfold::policy {
namespace {

constexpr std::string_view kForms =
    "user:NAME, group:NAME, role:NAME, account, everyone or an ARN of them";

Status Bad(std::string_view text, const std::string& why) {
  return {Error::kMalformedPolicyDocument,
          "found " + Quote(text) + ", " + why + "; expected " + std::string(kForms)};
}

bool IsAccountId(std::string_view text) {
  return text.size() == 12 && text.find_first_not_of("0123456789") == text.npos;
}

Result<std::string> Make(std::string_view text, std::string_view kind,
                         std::string_view name, const std::string& account) {
  // A wildcard would catch users who are made later; AWS refuses it too.
  if (name.find_first_of("*?") != name.npos)
    return Bad(text, "a principal with a wildcard");
  if (!ValidName(name)) return Bad(text, "which names nobody");
  if (kind == "user") return UserArn(account, name);
  if (kind == "group") return GroupArn(account, name);
  if (kind == "role") return RoleArn(account, name);
  if (kind == "service" && name == "keyfold") return ServiceArn(account);
  return Bad(text, "which is no principal");
}

Result<std::string> FromArn(std::string_view text, const std::string& account) {
  constexpr std::string_view kPrefix = "arn:aws:iam::";
  if (!text.starts_with(kPrefix)) return Bad(text, "which is no ARN of a principal");
  const std::string_view rest = text.substr(kPrefix.size());
  const size_t colon = rest.find(':');
  if (colon == rest.npos) return Bad(text, "which is no ARN of a principal");
  if (rest.substr(0, colon) != account)
    return Bad(text, "a principal of another account than " + account);
  const std::string_view tail = rest.substr(colon + 1);
  if (tail == "root") return RootArn(account);
  const size_t slash = tail.find('/');
  if (slash == tail.npos) return Bad(text, "which is no ARN of a principal");
  return Make(text, tail.substr(0, slash), tail.substr(slash + 1), account);
}

}  // namespace

bool ValidName(std::string_view name) {
  if (name.empty() || name.size() > 128) return false;
  if (name.front() == ' ' || name.back() == ' ') return false;
  for (char c : name)
    if ((c >= 0 && c < 0x20) || c == 0x7F || c == '*' || c == '?' || c == '/')
      return false;
  return true;
}

Result<std::string> ParsePrincipal(std::string_view text, const std::string& account) {
  if (text == "*" || text == "everyone") return std::string("*");
  if (text == "account" || text == account) return RootArn(account);
  if (IsAccountId(text)) return Bad(text, "another account than " + account);
  if (text.starts_with("arn:")) return FromArn(text, account);
  const size_t colon = text.find(':');
  if (colon == text.npos) return Bad(text, "which is no principal");
  return Make(text, text.substr(0, colon), text.substr(colon + 1), account);
}

std::string PrincipalPattern(std::string_view text, const std::string& account) {
  if (text == "account") return RootArn(account);
  const size_t colon = text.find(':');
  if (colon == text.npos) return std::string(text);
  const std::string_view kind = text.substr(0, colon), name = text.substr(colon + 1);
  if (kind == "user") return UserArn(account, name);
  if (kind == "group") return GroupArn(account, name);
  if (kind == "role") return RoleArn(account, name);
  if (text == "service:keyfold") return ServiceArn(account);
  return std::string(text);
}

}  // namespace keyfold::policy
