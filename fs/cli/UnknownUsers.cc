#include "fs/cli/UnknownUsers.h"

#include <pwd.h>

#include <cstdio>

#include "fs/cli/Harmless.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

// AccountIn is the account of the ARNs in `text`: a document speaks of one, or is
// refused. Short names are of any.
std::string AccountIn(const std::string& text) {
  constexpr std::string_view kArn = "arn:aws:iam::";
  constexpr size_t kDigits = 12;
  const size_t arn = text.find(kArn);
  return arn == text.npos ? std::string(kDigits, '0')
                          : text.substr(arn + kArn.size(), kDigits);
}

void AddUser(const std::string& arn, std::set<std::string>* names) {
  constexpr std::string_view kUser = "user:", kNameless = "uid:";
  const std::string shown = policy::ShortPrincipal(arn);
  if (!shown.starts_with(kUser)) return;
  const std::string name = shown.substr(kUser.size());
  if (!name.starts_with(kNameless)) names->insert(name);
}

std::string Text(const json& request, const char* member) {
  const auto it = request.find(member);
  return it != request.end() && it->is_string() ? it->get<std::string>() : "";
}

}  // namespace

std::set<std::string> UsersOfRequest(const json& request) {
  std::set<std::string> names;
  const std::string text = Text(request, "Policy");
  const auto document = policy::ParsePolicy(text, "policy", AccountIn(text));
  if (document.ok())
    for (const policy::Statement& statement : document->statements)
      for (const std::string& arn : statement.principals) AddUser(arn, &names);
  for (const char* member : {"GranteePrincipal", "RetiringPrincipal"}) {
    const std::string given = Text(request, member);
    const auto arn = policy::ParsePrincipal(given, AccountIn(given));
    if (arn.ok()) AddUser(*arn, &names);
  }
  return names;
}

std::set<std::string> UsersOfIam(const std::string& document) {
  std::set<std::string> names;
  const std::string account = AccountIn(document);
  const auto iam = policy::ParseIam(document, "iam", account);
  if (!iam.ok()) return names;
  for (const auto& [name, user] : iam->users)
    AddUser(policy::UserArn(account, name), &names);
  return names;
}

void TellUnknownUsers(const std::set<std::string>& names) {
  for (const std::string& name : names)
    if (::getpwnam(name.c_str()) == nullptr)
      std::fprintf(stderr,
                   "keyfold: there is no user %s here now; whoever gets that name "
                   "later gets the rights\n",
                   Harmless(name).c_str());
}

}  // namespace keyfold
