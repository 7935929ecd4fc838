// TreeCopy: brings a tree to another place, for `keyfold import` and `keyfold export`.
//
// Owns: the walk, by descriptors, what is there already, and that an object gets its
// name when it is whole. Must not know: words, keys, which side is a mount. Run is
// called once; Stop and Counts are thread-safe meanwhile.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "fs/backend/Backend.h"
#include "fs/cli/KeptAttributes.h"
#include "fs/cli/RateLimit.h"
#include "fs/cli/WholeFile.h"
#include "fs/vault/Workers.h"
#include "kms/base/Status.h"

namespace keyfold {

struct TreeCopyCounts {
  uint64_t files = 0, bytes = 0;        // that were copied
  uint64_t there = 0, there_bytes = 0;  // files that needed nothing
  uint64_t folders = 0, links = 0,
           others = 0;  // made or there; links are symbolic ones
  uint64_t hard_links = 0;
  uint64_t conflicts = 0;  // other things that bear the name
  uint64_t failed = 0;     // refused, or failed
  uint64_t left_out = 0;
  uint64_t passed = 0;  // bytes read so far, of whatever file
};

class TreeCopy {
 public:
  struct Plan {
    Keeping keeping;
    bool overwrite = false;  // what differs
    bool read_back = true;   // what was copied, and compare it
    bool compare = false;    // contents of files that are there already
    bool cross = false;      // into other filesystems
    bool dry_run = false;
    RateLimit limit;
    unsigned jobs = 1;  // threads
  };
  // Called one at a time. `path` is that of the object in the source or the copy that
  // the reason is about.
  struct Listener {
    std::function<void(const std::string& path, const Status& why)> failed;
    std::function<void(const std::string& path, const std::string& what,
                       const Status& why)>
        lost;
    std::function<void(const std::string& path, const std::string& why)> left_out;
  };

  TreeCopy(Plan plan, Listener listener)
      : plan_(std::move(plan)), listener_(std::move(listener)) {}

  // Run copies what is in the folder `from` into the folder `to`, or the file `from`;
  // both are resolved. It follows no link. It fails when it cannot go on.
  Status Run(const std::string& from, const std::string& to);
  void Stop() { stopped_ = true; }
  TreeCopyCounts Counts() const;

 private:
  // A folder on both sides. In a dry run there may be none in the copy.
  struct Place {
    UniqueFd from, to;
    std::string path;  // below what is copied; empty, or with a slash at its end
  };
  using PlacePtr = std::shared_ptr<const Place>;
  struct Object {
    PlacePtr place;
    std::string name;
    struct stat st;
    std::string Path() const { return place->path + name; }
  };
  struct LaterLink {
    std::string first;  // path of the name that is copied
    std::string folder, name;
    struct stat st;
  };
  struct SeenFolder {
    std::string path;
    struct stat st;
  };

  void Folder(const PlacePtr& place);
  void Entry(const PlacePtr& place, const std::string& name);
  void SubFolder(const Object& object, const UniqueFd& at);
  Result<UniqueFd> OpenOrMake(const Object& object, const UniqueFd& at);
  Status MakeFolder(const Object& object, const UniqueFd& at);
  void File(const Object& object);
  // IsToBeMade tells whether nothing bears the object's name, or it may be replaced;
  // else the object is done, or a conflict that was told.
  bool IsToBeMade(const Object& object);
  bool MayReplace(const Object& object, mode_t there);
  // Hand gives it to the workers, while there are any.
  void Hand(std::function<void()> task);
  void CopyFile(const Object& object);
  void CompareFile(const Object& object);
  void Special(const Object& object, const UniqueFd& at);
  Status MakeSpecial(const Object& object, const UniqueFd& at,
                     const std::string& partial);
  void LinkLater(const LaterLink& later);
  Status LinkNow(const LaterLink& later);
  void FinishFolder(const SeenFolder& folder);

  WholeFileOptions OptionsOf(const std::string& path);
  Status Spend(uint64_t bytes);
  Lost LostOf(const std::string& path);
  void Count(uint64_t TreeCopyCounts::*which, uint64_t by = 1);
  void Failed(const std::string& path, const Status& why);
  void Conflict(const std::string& path, const std::string& difference);
  void LeftOut(const std::string& path, const std::string& why);
  std::string Source(const std::string& path) const { return from_ + "/" + path; }
  std::string Copy(const std::string& path) const { return to_ + "/" + path; }

  const Plan plan_;
  const Listener listener_;
  std::string from_, to_;
  PlacePtr root_;
  dev_t device_ = 0;
  // The first name of each file that has several.
  std::map<std::pair<dev_t, ino_t>, std::string> first_names_;
  std::vector<LaterLink> later_;
  std::vector<SeenFolder> folders_;  // each after what is in it
  std::atomic<bool> stopped_{false};
  mutable std::mutex
      mutex_;  // guards what follows, and is held while something is told
  TreeCopyCounts counts_;
  Status failure_;
  uint64_t spent_ = 0;  // bytes written
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::unique_ptr<Workers> workers_;  // ends first
};

}  // namespace keyfold
