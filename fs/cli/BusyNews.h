// Whom an unmount waits for, in words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/cli/Unmount.h"

namespace keyfold {

// InUseBy is "in use by 1234 (bash) of alice: ..."; of nobody it says what that may
// mean to one who sees the processes of all users, or does not.
std::string InUseBy(const std::vector<BusyProcess>& users, bool sees_all);

// BusyNews tells of those who use a mount whenever they are others than before. Not
// synchronised.
class BusyNews {
 public:
  // IsNews takes those who use the mount now, which is busy. That nobody is seen is
  // news only at the second look: the kernel lets go of a file after its close.
  bool IsNews(const std::vector<BusyProcess>& users);

 private:
  std::optional<std::vector<BusyProcess>> seen_, told_;
};

}  // namespace keyfold
