// FileView: what may be seen of the process that serves files, by the one with the
// keys.
//
// Implementations are safe for concurrent use.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "kms/service/DataKeys.h"
#include "kms/service/FileCounts.h"

namespace keyfold {

// OpenHandle is a file that somebody has open.
struct OpenHandle {
  uid_t uid = 0;
  pid_t pid = 0;  // of who opened it
  std::string key_id;
  KeyUse use = KeyUse::kRead;
  std::string path;  // as seen on the mount, when it was opened
};

// OpenHandles are at most as many as fit a message; the rest is counted.
class OpenHandles {
 public:
  static constexpr size_t kMostBytes = 256 << 10;

  void Add(OpenHandle handle) {
    constexpr size_t kFields = 32;  // what a handle's fields take besides its texts
    bytes_ += kFields + handle.key_id.size() + handle.path.size();
    if (bytes_ > kMostBytes)
      ++left_out;
    else
      shown.push_back(std::move(handle));
  }
  std::vector<OpenHandle> shown;
  uint32_t left_out = 0;

 private:
  size_t bytes_ = 0;
};

class FileView {
 public:
  virtual ~FileView() = default;
  virtual const FileCounts& counts() const = 0;
  // Open asks what is open: all, or by one user. kUnavailable when there is no answer
  // in time.
  virtual Result<OpenHandles> Open(std::optional<uid_t> only) = 0;
};

}  // namespace keyfold
