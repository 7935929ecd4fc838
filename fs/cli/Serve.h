// Serve: the daemon behind a mount, from its first process to unmounting.
//
// Owns: the order in which processes, vault and mount come and go, and signals. This
// process serves the filesystem; KmsProcess.h has the keys, and Outside.h what neither
// may do. Must not know: option syntax.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "fs/cli/MountFlags.h"
#include "kms/api/AlertDelivery.h"

namespace keyfold {

struct ServeOptions {
  std::string store;       // resolved, as is
  std::string mountpoint;  // where it is mounted
  MountFlags flags;
  uint64_t audit_log_size = 64 << 20;  // bytes at which a new file begins
  // How long what is open goes on when the token or TPM is gone.
  std::chrono::seconds root_key_grace{60};
  AlertDelivery::Commands alert_commands = AlertDelivery::Commands::kApplied;
  std::vector<uid_t> metrics_users;      // besides root and the store's owner
  bool confine = true;                   // keep the daemon to the system calls it needs
  std::chrono::seconds idle_timeout{0};  // 0: it stays mounted however idle it is
  bool foreground = false;
};

// Serve returns the exit code, after printing the reason if it is not 0. It
// calls `ready` once the mount is there; requests are answered from then on.
int Serve(const ServeOptions& options, const std::function<void()>& ready);

// CheckMountpoint: an empty folder (or any with nonempty) that is no Keyfold
// mount yet and neither inside the store nor around it. kUsage, kLocked.
Status CheckMountpoint(const ServeOptions& options);

}  // namespace keyfold
