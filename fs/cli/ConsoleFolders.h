// What the console's pages ask of the mount: its folders and files with their keys, as
// the user who runs this sees them.
#pragma once

#include "fs/cli/MountTable.h"
#include "fs/console/Console.h"

namespace keyfold {

// AddFolderOperations adds ListFolder {Path}, FoldersOfKey {KeyId} and SetKey {Path,
// KeyId}. Paths begin at the mountpoint; no symbolic link is followed, and nothing
// outside of the mount is reached.
void AddFolderOperations(const MountEntry& mount, ConsoleBackend* backend);

}  // namespace keyfold
