// Rekey: what `keyfold rekey` does to a tree on a mount.
//
// Owns: the walk, by descriptors, and what each file and folder needs. Must not know:
// words, options. Not synchronised.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fs/backend/Backend.h"
#include "fs/cli/RateLimit.h"
#include "fs/cli/RekeyJournal.h"
#include "kms/base/Status.h"

namespace keyfold {

struct RekeyCounts {
  uint64_t files = 0, bytes = 0;  // looked at
  uint64_t bound = 0;             // folders bound to the key
  uint64_t wrapped = 0;           // files whose data key was wrapped anew
  uint64_t wrapped_bytes = 0;     // what these hold
  uint64_t reencrypted = 0;       // files that have another data key
  uint64_t reencrypted_bytes = 0;
  uint64_t refused = 0;  // files and folders that could not be done, or not looked at

  RekeyCounts& operator+=(const RekeyCounts& other);
};

class Rekey {
 public:
  struct Plan {
    std::string key_id;      // binds folders and files to it; empty: a folder's own
    bool reencrypt = false;  // new data keys
    bool dry_run = false;    // only counts
    RateLimit limit;
    RekeyJournal* journal = nullptr;  // may be null
  };
  // What is told: of each failure, with the key that was wanted and the one there is
  // (either may be empty), and now and then that something was done.
  struct Listener {
    std::function<void(const std::string& path, const std::string& wanted,
                       const std::string& current, const Status& why)>
        refused;
    std::function<void(const RekeyCounts&)> progress;
  };

  Rekey(Plan plan, Listener listener)
      : plan_(std::move(plan)), listener_(std::move(listener)) {}

  // Run does the file or tree at `path`, which is resolved and lies on a mount. It
  // follows no link and stays on the mount.
  void Run(const std::string& path);
  const RekeyCounts& counts() const { return counts_; }

 private:
  struct Wanted {
    std::string wanted, current;  // key ids
  };
  void Folder(const UniqueFd& fd, const std::string& path);
  void Entry(const UniqueFd& folder, const std::string& key_id, const std::string& name,
             const std::string& path);
  void OneFile(const UniqueFd& fd, const struct stat& st, const std::string& folder_key,
               const std::string& path);
  Status Bind(const std::string& at, const std::string& path, std::string* key_id);
  Status Change(const std::string& at, const struct stat& st, Wanted* keys);
  Status EncryptAnew(const std::string& at);
  void Refused(const std::string& path, const Wanted& keys, const Status& why);
  void Spend(uint64_t bytes);

  const Plan plan_;
  const Listener listener_;
  RekeyCounts counts_;
  dev_t device_ = 0;
  std::set<ino_t> seen_;  // files with several names
  uint64_t spent_ = 0;    // bytes written
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace keyfold
