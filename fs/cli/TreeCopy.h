// TreeCopy: brings a tree to another place, for `keyfold import` and `keyfold export`.
//
// Owns: the walk, by descriptors; what an object of each kind needs is done by the
// parts. Folders wait for their turn by their paths, so that however deep a tree is,
// few descriptors are open. Must not know: words, keys, which side is a mount. Run is
// called once; Stop and Counts are thread-safe meanwhile.
#pragma once

#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "fs/cli/CopyObject.h"
#include "fs/cli/CopyRun.h"
#include "fs/cli/FileCopy.h"
#include "fs/cli/FolderCopy.h"
#include "fs/cli/LaterLinks.h"
#include "fs/cli/SpecialCopy.h"
#include "kms/base/Status.h"

namespace keyfold {

class TreeCopy {
 public:
  TreeCopy(CopyPlan plan, CopyListener listener)
      : run_(std::move(plan), std::move(listener)) {}

  // Run copies what is in the folder `from` into the folder `to`, or the file `from`.
  // `from` is resolved; `to_path` is for what is told. In a dry run `to` may be
  // invalid: there is none. It follows no link. It fails when it cannot go on.
  Status Run(const std::string& from, UniqueFd to, const std::string& to_path);
  void Stop() { run_.tally.Stop(); }
  TreeCopyCounts Counts() const { return run_.tally.Counts(); }

 private:
  // Begin opens the source, and returns the name of the one file; empty for a folder.
  Result<std::string> Begin(const std::string& from, UniqueFd to);
  void Folder(const std::string& path);
  void Contents(const CopyPlacePtr& place);
  void NotOpened(const std::string& path, const Status& why);
  void Entry(const CopyPlacePtr& place, const std::string& name);

  CopyRun run_;
  FolderCopy folders_{run_};
  SpecialCopy specials_{run_};
  LaterLinks links_{run_};
  CopyPlacePtr root_;
  dev_t device_ = 0;
  std::vector<std::string> waiting_;  // paths of folders; the last one is next
  FileCopy files_{run_};              // whose threads end first
};

}  // namespace keyfold
