// Users whom a document or a grant names, and this machine does not know.
//
// Such a name is taken, as users may come later; but it may also be misspelled, and
// someone else's some day. Free functions.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace keyfold {

// UsersOfRequest are those to whom a request of the KMS speaks: of its Policy, and of
// a grant. Those without a name (user:uid:1234) are left out.
std::set<std::string> UsersOfRequest(const nlohmann::json& request);
// UsersOfIam are those of an IAM document.
std::set<std::string> UsersOfIam(const std::string& document);
// TellUnknownUsers warns on standard error of each whom this machine does not know.
void TellUnknownUsers(const std::set<std::string>& names);

}  // namespace keyfold
