// ForkedProcess: a process of this program's that does something apart, and the socket
// by which it is spoken to.
#pragma once

#include <sys/types.h>

#include <functional>

#include "kms/base/Status.h"
#include "kms/base/UniqueFd.h"

namespace keyfold {

struct ForkedProcess {
  pid_t pid = 0;
  UniqueFd socket;
};

// ForkProcess has a new process live `life` with the other end of the socket, and end
// when that returns. `type` is the socket's: SOCK_STREAM or SOCK_SEQPACKET. For a
// process that has one thread.
Result<ForkedProcess> ForkProcess(int type, const std::function<void(UniqueFd)>& life);

}  // namespace keyfold
