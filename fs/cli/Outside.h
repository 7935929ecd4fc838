// Outside: a process of this program that stays outside the daemon's confinement
// (Confinement.h) and does what cannot be done within: taking the mount away for the
// process that serves it, and making it, where that is to be in another mount namespace
// than the daemon's; or running the commands of alerts, which may need what the daemon
// gave up, for the one that has the keys.
//
// Owns: that process, which is forked before the one it serves has threads or secrets
// and holds none of its descriptors. It ends with that one. What it may be asked for is
// settled when it is forked. Must not know: alert rules, keys. Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "fs/fuse/KernelMount.h"
#include "kms/base/Status.h"
#include "kms/base/UniqueFd.h"
#include "policy/model/AlertRules.h"

namespace keyfold {

class Outside {
 public:
  // Each forks one. The first does nothing but mount and unmount `mount`, in the mount
  // namespace of the file `name_space` (MountNamespace.h); where that is empty it does
  // not mount. The second runs commands alone.
  static Result<std::unique_ptr<Outside>> ForMount(const KernelMount& mount,
                                                   const std::string& name_space);
  static Result<std::unique_ptr<Outside>> ForCommands();

  // Errors come without their numbers.
  // As MountForAnother (fs/fuse/KernelMount.h).
  Result<UniqueFd> Mount() const;
  // As keyfold::Unmount (Unmount.h).
  Status Unmount(bool lazy) const;
  // UnmountInUse takes the mount from the tree of names while it is in use. What was
  // written reaches the daemon before, and what is written until `meanwhile` returns
  // reaches it then.
  Status UnmountInUse(const std::function<void()>& meanwhile) const;
  // As RunAlertCommand (kms/api/AlertCommand.h).
  Status RunCommand(const policy::AlertAction& action, const std::string& alert,
                    const std::string& record, const std::atomic<bool>& ending) const;

 private:
  explicit Outside(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
};

}  // namespace keyfold
