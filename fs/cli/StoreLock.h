// StoreLock: one process at a time uses a store.
#pragma once

#include <string>

#include "fs/backend/Backend.h"
#include "kms/base/Status.h"

namespace keyfold {

// StoreLock holds STORE/lock exclusively for as long as it lives.
class StoreLock {
 public:
  // Take is kLocked, naming the process, when another keeps it for a second.
  static Result<StoreLock> Take(const std::string& store);
  // IsHeld tells whether someone has it; false when that cannot be seen.
  static bool IsHeld(const std::string& store);

 private:
  explicit StoreLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace keyfold
