// Taking a mount away, and who stands in the way.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "kms/base/Status.h"

namespace keyfold {

// Unmount is kSystem/EBUSY while the mount is in use, unless `lazy`.
Status Unmount(const std::string& mountpoint, bool lazy);

// BusyProcess is one that has something open on a mount.
struct BusyProcess {
  pid_t pid = 0;
  uid_t uid = 0;
  std::string name;                // "bash"
  std::vector<std::string> files;  // paths, as far as there are
  bool writes = false;             // some of them are open for writing

  // "1234 (bash) of alice: writes /srv/finance/plan.ods"
  std::string ToString() const;
  bool operator==(const BusyProcess&) const = default;
};
// BusyProcesses lists those that have something open below `mountpoint`, as far as this
// user may see them.
std::vector<BusyProcess> BusyProcesses(const std::string& mountpoint);

}  // namespace keyfold
