// AlertCommand: a program that is run for an alert.
//
// Owns: the process, its identity, environment and time. Must not know: alerts. Free
// functions, thread-safe.
#pragma once

#include <atomic>
#include <string>

#include "kms/base/Status.h"
#include "policy/model/AlertRules.h"

namespace keyfold {

// RunAlertCommand runs action.command as action.user, without a shell, in the folder /,
// with `record` on its standard input, its output thrown away, and an environment of
// PATH, HOME, USER, LOGNAME and KEYFOLD_ALERT alone. kUsage for a user that is not
// there or whom this process may not become; kSystem when the program cannot be run,
// fails, or takes longer than action.timeout or three seconds after `ending`: it is
// killed then, with what it started.
Status RunAlertCommand(const policy::AlertAction& action, const std::string& alert,
                       const std::string& record, const std::atomic<bool>& ending);

}  // namespace keyfold
