// keyfold fsck on the command line.
#pragma once

#include "fs/cli/Commands.h"

namespace keyfold {

// AddFsck adds fsck to the program, as the functions of Commands.h add theirs.
void AddFsck(CLI::App& app, Run* run);

}  // namespace keyfold
