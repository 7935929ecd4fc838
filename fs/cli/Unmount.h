// Taking a mount away, and who stands in the way.
#pragma once

#include <string>
#include <vector>

#include "kms/base/Status.h"

namespace keyfold {

// Unmount is kSystem/EBUSY while the mount is in use, unless `lazy`.
Status Unmount(const std::string& mountpoint, bool lazy);
// BusyProcesses lists processes with something open below `mountpoint`, as
// "1234 (bash)", as far as this user may see them.
std::vector<std::string> BusyProcesses(const std::string& mountpoint);

}  // namespace keyfold
