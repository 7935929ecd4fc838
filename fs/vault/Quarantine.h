// Quarantine: where damaged objects are moved, whole, so that nothing is destroyed.
//
// STORE/quarantine/TIME/N/ holds one object under its backing name, with its sidecar if
// it has one; STORE/quarantine/TIME/manifest says, a JSON object a line, where each was
// and why. The line is durable before the object is moved. Thread-safe.
#pragma once

#include <mutex>
#include <string>

#include "fs/backend/Backend.h"
#include "fs/vault/Finding.h"
#include "kms/base/Status.h"

namespace keyfold {

class Quarantine {
 public:
  // The folder is made when it is first needed, and named after `time`.
  Quarantine(std::string store, std::string time)
      : store_(std::move(store)), time_(std::move(time)) {}

  // Move takes the entry `name` of `folder`. It returns where it is now, below the
  // store. kSystem when it could not be moved, or not for good.
  Result<std::string> Move(int folder, const std::string& name, const Finding& why);

 private:
  Status Open();
  Status Note(const std::string& place, const Finding& why);

  const std::string store_;
  const std::string time_;
  std::mutex mutex_;  // guards the rest
  UniqueFd folder_, manifest_;
  std::string path_;  // below the store
  uint64_t moved_ = 0;
  off_t noted_ = 0;  // bytes of the manifest
};

}  // namespace keyfold
