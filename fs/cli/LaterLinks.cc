#include "fs/cli/LaterLinks.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace keyfold {

bool LaterLinks::Takes(const CopyObject& object) {
  if (object.st.st_nlink <= 1) return false;
  const auto [first, is_first] =
      first_names_.try_emplace({object.st.st_dev, object.st.st_ino}, object.Path());
  if (!is_first)
    later_.push_back({first->second, object.place->path, object.name, object.st});
  return !is_first;
}

void LaterLinks::Make(const CopyPlacePtr& root, FileCopy& files) {
  for (const LaterLink& later : later_) {
    if (run_.tally.stopped()) return;
    const std::string path = run_.Copy(later.folder + later.name);
    if (!files.WasDone(later.st)) {
      run_.tally.LeftOut(path, NotCopied(later));
    } else if (run_.plan.dry_run) {
      run_.tally.Count(&TreeCopyCounts::hard_links);
    } else if (const Status status = MakeOne(root, later, files); !status.ok()) {
      run_.tally.Failed(path, status);
    }
  }
}

std::string LaterLinks::NotCopied(const LaterLink& later) const {
  return "its other name was not copied: " + run_.Copy(later.first);
}

// MakeOne gives a file that is there a further name. Where that cannot be, the name
// gets a file of its own.
Status LaterLinks::MakeOne(const CopyPlacePtr& root, const LaterLink& later,
                           FileCopy& files) {
  const auto open = [&](const UniqueFd& side, const std::string& folder) {
    return OpenBelow(side.get(), folder, O_RDONLY | O_DIRECTORY, run_.plan.cross);
  };
  KF_ASSIGN_OR_RETURN(const UniqueFd first_folder,
                      open(root->to, ParentOf(later.first)));
  const std::string first = BaseOf(later.first);
  KF_ASSIGN_OR_RETURN(const struct stat copy, StatOf(first_folder.get(), first));
  // Somebody may have put another in its place.
  if (!IsSameFile(later.st, copy)) {
    run_.tally.LeftOut(run_.Copy(later.folder + later.name), NotCopied(later));
    return OkStatus();
  }
  auto place = std::make_shared<CopyPlace>();
  place->path = later.folder;
  KF_ASSIGN_OR_RETURN(place->to, open(root->to, later.folder));
  const auto there = StatOf(place->to.get(), later.name);
  if (there.ok() && there->st_ino == copy.st_ino) {
    run_.tally.Count(&TreeCopyCounts::hard_links);
    return OkStatus();
  }
  if (!there.ok() && ::linkat(first_folder.get(), first.c_str(), place->to.get(),
                              later.name.c_str(), 0) == 0) {
    run_.tally.Count(&TreeCopyCounts::hard_links);
    return OkStatus();
  }
  if (!there.ok())
    run_.LostOf(run_.Copy(later.folder + later.name))("hard link",
                                                      Status::FromErrno(errno, "link"));
  KF_ASSIGN_OR_RETURN(place->from, open(root->from, later.folder));
  files.Take({place, later.name, later.st});
  return OkStatus();
}

}  // namespace keyfold
