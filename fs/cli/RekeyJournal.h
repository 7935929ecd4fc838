// RekeyJournal: which data keys a run of `keyfold rekey --reencrypt` has made, so that
// after it was cut off the same command does only what is left.
//
// Lies in $XDG_STATE_HOME/keyfold (~/.local/state/keyfold), a file for each set of
// paths and key; holds ids of data keys, no secret. Not synchronised.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "fs/backend/Backend.h"
#include "kms/base/Status.h"

namespace keyfold {

class RekeyJournal {
 public:
  // Open reads what an earlier run left, unless `restart`. kLocked while another one
  // runs.
  static Result<RekeyJournal> Open(const std::vector<std::string>& paths,
                                   const std::string& key, bool restart);
  // Has tells whether the data key was made by this run or the one it goes on with.
  bool Has(const std::string& data_key_id) const { return made_.contains(data_key_id); }
  size_t size() const { return made_.size(); }
  Status Add(const std::string& data_key_id);
  // Remove ends it: the next run begins anew.
  void Remove();

 private:
  RekeyJournal(UniqueFd folder, std::string name, UniqueFd fd)
      : folder_(std::move(folder)), name_(std::move(name)), fd_(std::move(fd)) {}

  UniqueFd folder_;
  std::string name_;
  UniqueFd fd_;
  std::set<std::string> made_;
};

}  // namespace keyfold
