// FolderCopy: the folders of a copy: they are made, and finished when nothing more
// comes into them.
//
// Must not know: what is in them. Used by one thread.
#pragma once

#include <string>
#include <vector>

#include "fs/cli/CopyObject.h"
#include "fs/cli/CopyRun.h"

namespace keyfold {

class FolderCopy {
 public:
  explicit FolderCopy(CopyRun& run) : run_(run) {}
  // OpenOrMake opens the copy of a folder, of which `at` is any descriptor.
  // kSystem/ENOENT when there is none in a dry run.
  Result<UniqueFd> OpenOrMake(const CopyObject& object, const UniqueFd& at);
  // Seen is called with each folder after what is in it.
  void Seen(const CopyObject& object) { seen_.push_back({object.Path(), object.st}); }
  // Finish finishes what was seen, below `root`.
  void Finish(int root);

 private:
  struct SeenFolder {
    std::string path;
    struct stat st;
  };
  Status Make(const CopyObject& object, const UniqueFd& at);
  void FinishOne(int root, const SeenFolder& folder);

  CopyRun& run_;
  std::vector<SeenFolder> seen_;
};

}  // namespace keyfold
