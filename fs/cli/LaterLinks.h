// LaterLinks: further names of the files of a tree, which are made when the files are
// there.
//
// Must not know: contents. Used by one thread.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fs/cli/CopyObject.h"
#include "fs/cli/CopyRun.h"
#include "fs/cli/FileCopy.h"

namespace keyfold {

class LaterLinks {
 public:
  explicit LaterLinks(CopyRun& run) : run_(run) {}
  // Takes is true if the object is a further name of a file that was seen.
  bool Takes(const CopyObject& object);
  // Make makes them, below `root`, of the files that were done; others are left out.
  // Where a link cannot be, `files` makes a copy.
  void Make(const CopyPlacePtr& root, FileCopy& files);

 private:
  struct LaterLink {
    std::string first;  // path of the name that is copied
    std::string folder, name;
    struct stat st;
  };
  std::string NotCopied(const LaterLink& later) const;
  Status MakeOne(const CopyPlacePtr& root, const LaterLink& later, FileCopy& files);

  CopyRun& run_;
  // The first name of each file that has several.
  std::map<std::pair<dev_t, ino_t>, std::string> first_names_;
  std::vector<LaterLink> later_;
};

}  // namespace keyfold
