// FileCopy: copies of the regular files of a tree, by several threads.
//
// Owns: what is there already, trying again. Must not know: links, the walk. Used by
// one thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "fs/cli/CopyObject.h"
#include "fs/cli/CopyRun.h"
#include "fs/cli/WholeFile.h"
#include "fs/vault/Workers.h"

namespace keyfold {

class FileCopy {
 public:
  explicit FileCopy(CopyRun& run)
      : run_(run), workers_(std::make_unique<Workers>(run.plan.jobs)) {}
  // Take hands the file out to be copied, or tells what bears its name.
  void Take(const CopyObject& object);
  // Wait returns when all are copied. What is taken later is copied before Take
  // returns.
  void Wait() { workers_.reset(); }
  // WasDone tells of a file with several names whether its copy is there, as it should
  // be. After Wait.
  bool WasDone(const struct stat& st) const {
    return done_.contains({st.st_dev, st.st_ino});
  }

 private:
  // IsToBeMade tells whether nothing bears the object's name, or it may be replaced;
  // else the object is done, or a conflict that was told.
  bool IsToBeMade(const CopyObject& object);
  void Hand(std::function<void()> task);
  void WouldCopy(const CopyObject& object);
  void Copy(const CopyObject& object);
  void MadeMeanwhile(const CopyObject& object);
  void Compare(const CopyObject& object);
  // Done counts the file, that was copied or was `there`.
  void Done(const CopyObject& object, bool there);
  WholeFileOptions OptionsOf(const std::string& path);

  CopyRun& run_;
  std::mutex mutex_;                        // guards what follows, until Wait
  std::set<std::pair<dev_t, ino_t>> done_;  // those with several names
  std::unique_ptr<Workers> workers_;        // ends first
};

}  // namespace keyfold
