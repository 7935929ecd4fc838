// OwnProcess: this process as a caller.
#pragma once

#include <unistd.h>

#include "kms/service/DataKeys.h"

namespace keyfold {

inline Caller OwnProcess() {
  Caller caller;
  caller.uid = ::geteuid();
  caller.gid = ::getegid();
  caller.pid = ::getpid();
  return caller;
}

}  // namespace keyfold
