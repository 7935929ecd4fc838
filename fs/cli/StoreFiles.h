// StoreFiles: how the files of a store take each other's place, for who replaces one
// and keeps the former.
//
// Must not know: what the files hold. The store's lock is held.
#pragma once

#include <string>
#include <vector>

#include "kms/base/Status.h"

namespace keyfold {

bool Exists(const std::string& path);
Status Rename(const std::string& from, const std::string& to);

// KeptName is ".before-WHY-N" with the lowest N by which none of `names` in `store` is
// kept yet.
std::string KeptName(const std::string& store, const std::vector<std::string>& names,
                     const std::string& why);
// KeepLinked leaves `path`, which will be replaced as a whole, under the name `kept`
// too.
Status KeepLinked(const std::string& path, const std::string& kept);
// KeepCopied copies `path`, which will be changed in place, to `kept`: the copy is
// whole once it has that name, and survives power loss on return. `half` is its name
// before.
Status KeepCopied(const std::string& path, const std::string& half,
                  const std::string& kept);

}  // namespace keyfold
