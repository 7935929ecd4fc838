// What the daemon's processes give up, so that who makes one of them do what it should
// not gets little.
//
// Owns: the choice of capabilities. Must not know: which system calls there are
// (SystemCalls.h). The functions are for the calling thread and those it starts later,
// so the threads of a process begin after them.
#pragma once

#include "fs/cli/SystemCalls.h"
#include "kms/base/Status.h"

namespace keyfold {

// KeepForMounting leaves, of root's capabilities, those that mounting and serving need,
// for good, and no program that is executed gains any right (no_new_privs). Nothing for
// other users, who mount with the help of such a program. kSystem where the kernel
// refuses, as the others.
Status KeepForMounting();
// KeepForServing leaves those that the mount needs once it stands. No_new_privs for
// every user.
Status KeepForServing();

// KeepForOpening leaves those that opening a store and answering for it need, and
// no_new_privs. It is for the process that has the keys.
Status KeepForOpening();
// KeepForKeys leaves those that an open store needs: `listens` is for a port below
// 1024, `others_files` for opening what belongs to other users than this.
Status KeepForKeys(bool listens, bool others_files);

// Filter restricts the process to `calls` if that is wanted. The kernel of an old
// machine or container may know no filters: the mount is as good without, only less
// guarded, which the log tells.
Status Filter(bool wanted, SystemCalls calls);

// LockMemory keeps what this process has in memory, now and later, from swap. Nothing
// where the limit on locked memory would make it run out of memory; secrets are locked
// apart from that (SecretBytes.h). False if it did nothing.
bool LockMemory();

}  // namespace keyfold
