// Mount namespaces other than this process's (mount_namespaces(7)), by the files that
// stand for them, such as /proc/1/ns/mnt.
//
// Must not know: what is done there. Free functions, for a process that has one thread.
#pragma once

#include <functional>
#include <string>

#include "kms/base/Status.h"

namespace keyfold {

// EnterMountNamespace has this process see what is mounted there, for good. kUsage when
// `file` is something else, kAccessDenied without the right, kSystem if it can't be
// opened.
Status EnterMountNamespace(const std::string& file);

// InMountNamespace has `what` done there by a process of its own, and gives what that
// returns, but for the number of an error. This process does it where `file` is empty.
Result<std::string> InMountNamespace(const std::string& file,
                                     const std::function<Result<std::string>()>& what);

}  // namespace keyfold
