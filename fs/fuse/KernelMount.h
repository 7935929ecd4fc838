// The mount in the kernel, apart from serving it: its options, and how it comes to be.
//
// Must not know: what is served. Free functions, for a process that has one thread.
#pragma once

#include <string>
#include <vector>

#include "kms/base/Status.h"
#include "kms/base/UniqueFd.h"

struct fuse_lowlevel_ops;
struct fuse_session;

namespace keyfold {

// The contents of one request, in bytes.
inline constexpr unsigned kMaxRequest = 1 << 20;

struct KernelMount {
  std::string mountpoint;
  std::string source;                // shown in /proc/self/mountinfo
  std::vector<std::string> options;  // as after -o: "ro", "noatime"
  bool debug = false;
};

// NewSession makes one that is not mounted yet; its owner destroys it. kUsage for an
// unknown option.
Result<fuse_session*> NewSession(const KernelMount& mount, const fuse_lowlevel_ops& ops,
                                 void* data);
// MountSession mounts. kSystem when the mountpoint is missing or busy.
Status MountSession(fuse_session* session, const KernelMount& mount);

// MountForAnother mounts for another process, which serves from the device that this
// gives. Errors as of the two above.
Result<UniqueFd> MountForAnother(const KernelMount& mount);
// ServeFrom has the session serve from such a device, which it owns then.
Status ServeFrom(UniqueFd device, fuse_session* session);

}  // namespace keyfold
