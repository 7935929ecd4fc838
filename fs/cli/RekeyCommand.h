// keyfold rekey on the command line.
#pragma once

#include <string>
#include <vector>

#include "fs/cli/Commands.h"

namespace keyfold {

struct RekeyOptions {
  std::vector<std::string> paths;
  std::string key;         // binds folders and files to it; empty: a folder's own
  bool reencrypt = false;  // new data keys
  bool dry_run = false;
  bool restart = false;    // forget what a run that was cut off has done
  bool progress = false;   // though standard error is no terminal
  std::string rate_limit;  // "50M" a second
  std::string format = "text";
};

// RunRekey does `keyfold rekey`; returns the exit code.
int RunRekey(const RekeyOptions& options);
// AddRekey adds rekey to the program, as the functions of Commands.h add theirs.
void AddRekey(CLI::App& app, Run* run);

}  // namespace keyfold
