// OpenAt2 is openat2(2), which opens by way of what `resolve` (RESOLVE_*) allows only.
#pragma once

#include <linux/openat2.h>

#include <cstdint>
#include <string>

#include "kms/base/UniqueFd.h"

namespace keyfold {

// `flags` get O_CLOEXEC. None, and errno, when it fails.
UniqueFd OpenAt2(int folder, const std::string& path, uint64_t flags, uint64_t resolve);

}  // namespace keyfold
