// The Keyfold mounts of this machine, as /proc/self/mountinfo lists them.
//
// Must not know: what is behind a mount. Free functions.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kms/base/Status.h"
#include "kms/base/UniqueFd.h"

namespace keyfold {

struct MountEntry {
  std::string mountpoint;
  std::string store;  // the source: the store's folder
  uid_t owner = 0;    // who mounted it
  dev_t device = 0;   // as st_dev of what is on it
};

// ParseMountInfo picks the mounts of type fuse.keyfold (proc(5)).
std::vector<MountEntry> ParseMountInfo(std::string_view text);
Result<std::vector<MountEntry>> AllMounts();
// KeyfoldMounts leaves out mounts that only another user can enter.
Result<std::vector<MountEntry>> KeyfoldMounts();
// MountOf finds the mount that `path` lies on; `path` is resolved. Nothing if it
// lies on another filesystem.
std::optional<MountEntry> MountOf(const std::vector<MountEntry>& mounts,
                                  const std::string& path);
// MountHolding is the same, kUsage if there is none; `given` is how the user called
// `path`.
Result<MountEntry> MountHolding(const std::vector<MountEntry>& mounts,
                                const std::string& path, const std::string& given);
// OpenRoot opens the folder of the mount, with O_PATH, and nothing that lies under it
// or was put over it since: kSystem then, or when the daemon is gone.
Result<UniqueFd> OpenRoot(const MountEntry& mount);
// SocketOf asks the mount for its daemon's socket; kSystem/ETIMEDOUT from one that does
// not answer in 5 s.
Result<std::string> SocketOf(const MountEntry& mount);

}  // namespace keyfold
