// What the daemon gives up, so that who makes it do what it should not gets little.
//
// Owns: the choice of capabilities. Must not know: system calls (SystemCalls.h). Both
// functions are for the calling thread and those it starts later, so the daemon's
// threads begin after them.
#pragma once

#include "kms/base/Status.h"

namespace keyfold {

// KeepForMounting leaves, of root's capabilities, those that opening a store, mounting
// and serving it need, for good, and no program that is executed gains any right
// (no_new_privs). Nothing for other users, who mount with the help of such a program.
// kSystem where the kernel refuses.
Status KeepForMounting();

// KeepForServing leaves those that the mount needs once it stands; `listens` is for a
// port below 1024. No_new_privs for every user.
Status KeepForServing(bool listens);

// LockMemory keeps what this process has in memory, now and later, from swap. Nothing
// where the limit on locked memory would make it run out of memory; secrets are locked
// apart from that (SecretBytes.h). False if it did nothing.
bool LockMemory();

}  // namespace keyfold
