#include "policy/model/Model.h"

#include <algorithm>

#include "policy/model/Wildcard.h"

namespace keyfold::policy {
namespace {

constexpr std::string_view kIamPrefix = "arn:aws:iam::";

std::string IamArn(std::string_view account, std::string_view kind,
                   std::string_view name) {
  std::string arn;
  arn.reserve(kIamPrefix.size() + account.size() + kind.size() + name.size() + 1);
  arn.append(kIamPrefix).append(account).append(":").append(kind).append(name);
  return arn;
}

}  // namespace

std::string UserArn(std::string_view account, std::string_view name) {
  return IamArn(account, "user/", name);
}
std::string GroupArn(std::string_view account, std::string_view name) {
  return IamArn(account, "group/", name);
}
std::string RoleArn(std::string_view account, std::string_view name) {
  return IamArn(account, "role/", name);
}
std::string PolicyArn(std::string_view account, std::string_view name) {
  return IamArn(account, "policy/", name);
}
std::string RootArn(std::string_view account) { return IamArn(account, "root", ""); }
std::string ServiceArn(std::string_view account) {
  return IamArn(account, "service/", "keyfold");
}

std::string ShortPrincipal(std::string_view arn) {
  if (arn == "*") return "everyone";
  const std::string_view kind = PrincipalKind(arn);
  if (kind == "root") return "account";
  if (kind.empty()) return std::string(arn);
  std::string text(arn.substr(static_cast<size_t>(kind.data() - arn.data())));
  text[kind.size()] = ':';
  return text;
}

std::string_view PrincipalKind(std::string_view arn) {
  if (!arn.starts_with(kIamPrefix)) return "";
  const size_t colon = arn.find(':', kIamPrefix.size());
  if (colon == arn.npos) return "";
  const std::string_view tail = arn.substr(colon + 1);
  if (tail == "root") return tail;
  for (std::string_view kind : {"user/", "group/", "role/", "service/"})
    if (tail.starts_with(kind)) return tail.substr(0, kind.size() - 1);
  return "";
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (AsciiLower(a[i]) != AsciiLower(b[i])) return false;
  return true;
}

bool LooksAt(const Document& document, std::string_view key) {
  for (const Statement& statement : document.statements)
    for (const Condition& condition : statement.conditions)
      if (EqualsIgnoreCase(condition.key, key)) return true;
  return false;
}

std::string TwiceButForCase(const std::map<std::string, std::string>& names) {
  std::set<std::string> lower;
  for (const auto& [name, value] : names) {
    std::string folded = name;
    std::transform(folded.begin(), folded.end(), folded.begin(), AsciiLower);
    if (!lower.insert(std::move(folded)).second) return name;
  }
  return "";
}

}  // namespace keyfold::policy
