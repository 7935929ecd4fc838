// The policies that every account has.
//
// Immutable; may be used by any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "policy/model/Model.h"

namespace keyfold::policy {

// AccountRoot applies to whoever ran `init`, and can't be attached.
inline constexpr std::string_view kAccountRootPolicy = "AccountRoot";

// ManagedPolicies by name: AdministratorAccess, SystemAdministrator,
// FilesFullAccess, FilesReadOnlyAccess, ConsoleReadOnlyAccess, AccountRoot.
// These names are taken: iam.yaml can't give them another meaning.
const std::map<std::string, Document>& ManagedPolicies();

}  // namespace keyfold::policy
