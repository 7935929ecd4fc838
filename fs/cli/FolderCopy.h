// FolderCopy: the folders of a copy: they are found or made, and finished when nothing
// more comes into them.
//
// Somebody else may move and swap what is in the copy meanwhile. So a folder is entered
// through no link, judged by its descriptor before anything comes into it, and only a
// folder that is made gets an owner and wider permissions, before it has its name.
//
// Must not know: what is in them. Used by one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/cli/CopyObject.h"
#include "fs/cli/CopyRun.h"

namespace keyfold {

class FolderCopy {
 public:
  explicit FolderCopy(CopyRun& run) : run_(run) {}
  // Enter opens or makes the copy of a folder, of which `at` is any descriptor. In a
  // dry run it may be invalid: there is none. Nothing when it told why not.
  std::optional<UniqueFd> Enter(const CopyObject& object, const UniqueFd& at);
  // Finish finishes what was entered, below `root`; what was made writable for its
  // owner gets its own mode back even if all was stopped.
  void Finish(int root);

 private:
  struct Entered {
    std::string path;
    struct stat st;  // of the source
    bool is_made = false, was_made_writable = false;
    mode_t own_mode = 0;  // before it was made writable
  };
  Result<UniqueFd> FindOrMake(const CopyObject& object, const UniqueFd& at,
                              bool* is_made);
  Result<UniqueFd> Find(const CopyObject& object);
  Result<UniqueFd> Make(const CopyObject& object, const UniqueFd& at);
  void FinishOne(int root, const Entered& folder);

  CopyRun& run_;
  std::vector<Entered> entered_;
};

}  // namespace keyfold
