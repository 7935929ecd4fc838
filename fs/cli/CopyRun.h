// CopyRun: what the parts of one copy of a tree have in common.
#pragma once

#include <sys/stat.h>

#include <string>
#include <utility>

#include "fs/cli/CopyTally.h"
#include "fs/cli/KeptAttributes.h"

namespace keyfold {

struct CopyPlan {
  Keeping keeping;
  bool overwrite = false;  // what differs
  bool read_back = true;   // what was copied, and compare it
  bool compare = false;    // contents of files that are there already
  bool cross = false;      // into other filesystems
  bool dry_run = false;
  RateLimit limit;
  unsigned jobs = 1;  // threads
};

struct CopyRun {
  CopyRun(CopyPlan to_do, CopyListener listener)
      : plan(std::move(to_do)), tally(plan.limit, std::move(listener)) {}

  const CopyPlan plan;
  CopyTally tally;
  std::string from, to;  // the two folders, for what is told
  uid_t to_owner = 0;    // whose the folder `to` is

  std::string Source(const std::string& path) const { return from + "/" + path; }
  std::string Copy(const std::string& path) const { return to + "/" + path; }
  Lost LostOf(const std::string& path) {
    return [this, path](const std::string& what, const Status& why) {
      tally.Lost(path, what, why);
    };
  }
  // TellOther tells when what is there already has another owner or mode than its
  // original. It is not given that at once: by size and time alone nobody knows that it
  // is what was copied, and not something that others put there to be given away.
  void TellOther(const std::string& path, const struct stat& source,
                 const struct stat& there);
  // Mend gives what is there, and was found the same, what else its original has.
  void Mend(const std::string& path, const struct stat& source, int original,
            int there);
  // MayReplace tells a conflict if what bears the object's name in the copy is to stay.
  bool MayReplace(const std::string& path, mode_t source, mode_t there);
};

}  // namespace keyfold
