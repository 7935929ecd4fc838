// FuseMount: a vault shown through FUSE (libfuse3 low-level API).
//
// Owns: the session, its threads, the table of inodes known to the kernel and
// the translation of Status into errno. Must not know: keys or formats.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fs/fuse/KernelMount.h"
#include "fs/vault/Vault.h"
#include "kms/base/Status.h"

namespace keyfold {

struct MountOptions {
  KernelMount kernel;
  std::string socket_path;  // answered by user.keyfold.socket on the root
  // Mounts (MountForAnother), and takes the mount away, where this process may not;
  // null: it may.
  std::function<Result<UniqueFd>()> mount;
  std::function<void()> unmount;
};

class FuseMount {
 public:
  // Create mounts at once; requests are answered from Run on. kUsage for an
  // unknown option, kSystem when the mountpoint is missing or busy.
  static Result<std::unique_ptr<FuseMount>> Create(Vault& vault,
                                                   const MountOptions& options);
  ~FuseMount();
  // MostThreads is how many serve requests.
  static unsigned MostThreads();
  // Run serves until the filesystem is unmounted or Stop is called. SIGINT,
  // SIGTERM and SIGHUP count as Stop unless the program blocks them, as the
  // daemon does; SIGPIPE is ignored.
  Status Run();
  void Stop();

  struct Impl;  // of fs/fuse/Request.h

 private:
  FuseMount();
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
