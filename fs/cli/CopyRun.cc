#include "fs/cli/CopyRun.h"

namespace keyfold {

bool CopyRun::MayReplace(const std::string& path, mode_t source, mode_t there) {
  if (plan.overwrite && !S_ISDIR(there)) return true;
  const bool same_kind = (there & S_IFMT) == (source & S_IFMT);
  tally.Conflict(Copy(path), !same_kind       ? "it is of another kind"
                             : S_ISREG(there) ? "in size or time"
                             : S_ISLNK(there) ? "it leads elsewhere"
                                              : "it is another device");
  return false;
}

}  // namespace keyfold
