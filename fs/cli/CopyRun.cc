#include "fs/cli/CopyRun.h"

#include <cerrno>

namespace keyfold {

void CopyRun::TellOther(const std::string& path, const struct stat& source,
                        const struct stat& there) {
  const std::string what = OtherStatus(source, there, plan.keeping);
  if (!what.empty())
    tally.Lost(Copy(path), what + " of what was there",
               Status::Told(Error::kSystem, EEXIST, "--compare mends it"));
}

void CopyRun::Mend(const std::string& path, const struct stat& source, int original,
                   int there) {
  const auto differs = [&] {
    return OtherAttributes(original, source, there, plan.keeping);
  };
  auto what = differs();
  if (what.ok() && what->empty()) return;
  if (what.ok() && !plan.dry_run) {
    const Status given =
        GiveAttributes(original, source, there, plan.keeping, 0, LostOf(Copy(path)));
    if (!given.ok()) return tally.Failed(Copy(path), given);
    what = differs();
    if (what.ok() && !what->empty()) return;  // told as lost
  }
  if (!what.ok()) return tally.Failed(Copy(path), what.status());
  tally.Count(&TreeCopyCounts::mended);
}

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
