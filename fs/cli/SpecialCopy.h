// SpecialCopy: a copy of what has no contents: links, fifos, sockets, devices.
//
// Must not know: trees. Used by one thread.
#pragma once

#include "fs/cli/CopyObject.h"
#include "fs/cli/CopyRun.h"

namespace keyfold {

class SpecialCopy {
 public:
  explicit SpecialCopy(CopyRun& run) : run_(run) {}
  // Take copies the object, of which `at` is any descriptor, or tells why not.
  void Take(const CopyObject& object, const UniqueFd& at);

 private:
  void There(const CopyObject& object, const UniqueFd& at);
  Status Make(const CopyObject& object, const UniqueFd& at, const std::string& partial);

  CopyRun& run_;
};

}  // namespace keyfold
