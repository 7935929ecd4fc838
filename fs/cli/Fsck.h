// Fsck: a check of a whole store, from opening it to the exit code.
//
// Owns: the order of the parts, signals, saving how far it came. Must not know: option
// syntax.
#pragma once

#include <string>

#include "fs/cli/MountTable.h"
#include "kms/base/Status.h"

namespace keyfold {

struct FsckOptions {
  std::string store;     // or a path on a mount
  std::string root_key;  // where the secret is; empty: as configured
  bool repair = false;
  bool quick = false;  // not the contents of files
  bool resume = false;
  bool json = false;
  bool progress = false;  // also where standard error is no terminal
  unsigned jobs = 0;      // threads; 0: one a core
};

// Fsck returns an exit code of FsckExitCode, after telling what it found.
int Fsck(const FsckOptions& options);

// FsckMounted looks at `path` on a mount, as far as whoever runs it may.
int FsckMounted(const FsckOptions& options, const MountEntry& mount,
                const std::string& path);

// FailFsck tells why nothing was checked, and is the exit code.
int FailFsck(const Status& status);
// JobsOf is the number of threads.
unsigned JobsOf(const FsckOptions& options);

}  // namespace keyfold
