// TreeCopy: brings a tree to another place, for `keyfold import` and `keyfold export`.
//
// Owns: the walk, by descriptors; what an object of each kind needs is done by the
// parts. Must not know: words, keys, which side is a mount. Run is called once; Stop
// and Counts are thread-safe meanwhile.
#pragma once

#include <sys/stat.h>

#include <string>
#include <utility>

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

  // Run copies what is in the folder `from` into the folder `to`, or the file `from`;
  // both are resolved. It follows no link. It fails when it cannot go on.
  Status Run(const std::string& from, const std::string& to);
  void Stop() { run_.tally.Stop(); }
  TreeCopyCounts Counts() const { return run_.tally.Counts(); }

 private:
  void Folder(const CopyPlacePtr& place);
  void Entry(const CopyPlacePtr& place, const std::string& name);
  void SubFolder(const CopyObject& object, const UniqueFd& at);

  CopyRun run_;
  FolderCopy folders_{run_};
  SpecialCopy specials_{run_};
  LaterLinks links_{run_};
  CopyPlacePtr root_;
  dev_t device_ = 0;
  FileCopy files_{run_};  // whose threads end first
};

}  // namespace keyfold
