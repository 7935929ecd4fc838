// Fsck: a check of a whole store, from opening it to the exit code.
//
// Owns: the order of the parts, signals, saving how far it came. Must not know: option
// syntax.
#pragma once

#include <string>

namespace keyfold {

struct FsckOptions {
  std::string store;
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

}  // namespace keyfold
