// What keyfold import and keyfold export have in common: options, checks, and the run.
//
// Free functions.
#pragma once

#include <string>

#include "fs/backend/Backend.h"
#include "fs/cli/Commands.h"
#include "fs/cli/MountTable.h"
#include "fs/cli/TreeCopyReport.h"

namespace keyfold {

struct TreeCopyOptions {
  std::string from, to;
  bool overwrite = false;
  bool compare = false;  // contents of what is there already
  bool no_read_back = false;
  bool no_owner = false;
  bool cross = false;  // into other filesystems
  bool dry_run = false;
  bool progress = false;   // though standard error is no terminal
  std::string rate_limit;  // "50M" a second
  std::string format = "text";
  bool keep_permissions = true;  // of the group and of others
};

// AddTreeCopyOptions adds those that both have.
void AddTreeCopyOptions(CLI::App* app, TreeCopyOptions* options);

struct TreeCopyJob {
  std::string from, to;  // resolved
  // `to`, opened once: all that is checked and made is of this folder, whatever bears
  // its name later. Invalid in a dry run if there is none.
  UniqueFd to_folder;
  MountEntry mount;                  // the one whose refusals are explained
  std::vector<const char*> actions;  // what its keys are used for
  TreeCopyReport::Words words;
};

// CheckOutsideStores is kUsage when `path`, resolved, lies in the store of a mount:
// what is there is Keyfold's own.
Status CheckOutsideStores(const std::string& path, const std::string& given);
// OpenDestination opens the folder `path`, resolved, through no link that came since;
// kUsage when it is no folder.
Result<UniqueFd> OpenDestination(const std::string& path, const std::string& given);
// RunTreeCopy returns the exit code.
int RunTreeCopy(const TreeCopyOptions& options, TreeCopyJob job);

void AddImport(CLI::App& app, Run* run);
void AddExport(CLI::App& app, Run* run);

}  // namespace keyfold
