// MountedCheck: looks at a tree on a mount, through the mount: what the caller may open
// is read, and what does not authenticate is an error of the read.
//
// Owns: the walk, by descriptors, and what each error means. Must not know: how
// findings are shown. Run is called once; the rest is thread-safe meanwhile.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "fs/backend/Backend.h"
#include "fs/cli/FsckState.h"
#include "fs/vault/Checker.h"
#include "fs/vault/Workers.h"

namespace keyfold {

struct MountedCheckOptions {
  bool contents = true;  // not only whether files open
  unsigned jobs = 1;     // threads; those read one large file together
  // Called with each finding, one at a time.
  std::function<void(const Finding&)> found;
};

class MountedCheck {
 public:
  explicit MountedCheck(MountedCheckOptions options) : options_(std::move(options)) {}

  // Run looks at all at and below `path`, which is resolved and lies on a mount. It
  // follows no link and stays on the mount. It fails when it cannot go on.
  Status Run(const std::string& path);
  void Stop() { stopped_ = true; }
  const CheckTally& tally() const { return tally_; }

 private:
  struct Found;
  void Object(const UniqueFd& at, const std::string& path);
  void Folder(const UniqueFd& at, const std::string& path);
  void File(const UniqueFd& at, const struct stat& st, const std::string& path);
  void Attributes(const UniqueFd& at, const std::string& path);
  Status Part(const Found& file, const ByteRange& range);
  static Status Read(int fd, const ByteRange& range, uint8_t* room);
  Result<UniqueFd> OpenAnew(const Found& file) const;
  Status ReadBlocks(const Found& file, int fd, const ByteRange& range, uint8_t* room);
  // Failed tells what `status` means for an object, of which `kind` is not right if it
  // is damage.
  void Failed(const std::string& path, FindingKind kind, const Status& status,
              std::optional<ByteRange> range = {});

  const MountedCheckOptions options_;
  CheckTally tally_;
  dev_t device_ = 0;
  std::set<ino_t> linked_;  // files of several names that were looked at
  std::atomic<bool> stopped_{false};
  std::mutex told_mutex_;  // held while a finding is told; guards failure_
  Status failure_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace keyfold
