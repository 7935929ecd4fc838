// The system calls that the daemon's processes may make (seccomp(2)).
//
// Owns: the lists, and the count of what was refused. Must not know: capabilities.
#pragma once

#include <functional>
#include <string>

#include "kms/base/Status.h"

namespace keyfold {

// Which of the processes it is: the one that serves files acts on the disk as any user,
// and speaks to nobody; the one that has the keys reads and writes a few files of its
// own, and the network.
enum class SystemCalls { kFiles, kKeys };

// FilterSystemCalls restricts this process, all its threads, to what SystemCalls.cc
// lists, for good; no program can be executed and no process made. Other calls fail
// with EPERM and are counted; a few that nothing here could mean well end the process.
// no_new_privs must be set. kSystem where the kernel can't. Programs that are built
// with a sanitizer are let alone, as its runtime needs more: false.
Result<bool> FilterSystemCalls(SystemCalls which);

// ForEachRefusal tells which calls were refused since it was last asked, by name.
void ForEachRefusal(const std::function<void(const std::string& name)>& tell);

}  // namespace keyfold
