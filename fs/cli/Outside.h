// Outside: a process of this program that stays outside the daemon's confinement
// (Confinement.h) and does what cannot be done within: taking the mount away for the
// process that serves it, or running the commands of alerts, which may need what the
// daemon gave up, for the one that has the keys.
//
// Owns: that process, which is forked before the one it serves has threads or secrets
// and holds none of its descriptors. It ends with that one. What it may be asked for is
// settled when it is forked. Must not know: alert rules, keys. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "fs/backend/Backend.h"
#include "kms/base/Status.h"
#include "policy/model/AlertRules.h"

namespace keyfold {

class Outside {
 public:
  // Each forks one. The first unmounts `mountpoint` and does nothing else, the second
  // runs commands alone.
  static Result<std::unique_ptr<Outside>> ForUnmounting(const std::string& mountpoint);
  static Result<std::unique_ptr<Outside>> ForCommands();

  // As keyfold::Unmount (Unmount.h), but for the number of the error.
  Status Unmount(bool lazy) const;
  // As RunAlertCommand (kms/api/AlertCommand.h).
  Status RunCommand(const policy::AlertAction& action, const std::string& alert,
                    const std::string& record, const std::atomic<bool>& ending) const;

 private:
  static Result<std::unique_ptr<Outside>> Start(const std::string& mountpoint);
  explicit Outside(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
};

}  // namespace keyfold
