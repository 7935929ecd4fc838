// Why a mount refused to change a key, in words. Free functions.
#pragma once

#include <string>
#include <vector>

#include "fs/cli/MountTable.h"
#include "kms/base/Status.h"

namespace keyfold {

// WhyKeyRefuses finds out what keeps the caller from `actions` with `key`, when a mount
// answered `error` (EACCES or ENOKEY): kAccessDenied or kInvalidState with what to do,
// or OK when it is not the key.
Status WhyKeyRefuses(const MountEntry& mount, const std::string& key,
                     const std::vector<const char*>& actions, int error);
// ExplainRefusal finds out why `failure` came of `path` on `mount`, which is to be
// under `key` and is under `current` (empty if not known): kAccessDenied or
// kInvalidState with what to do, or `failure` itself when that tells no more.
Status ExplainRefusal(const MountEntry& mount, const std::string& path,
                      const std::string& key, const std::string& current,
                      const Status& failure);

}  // namespace keyfold
