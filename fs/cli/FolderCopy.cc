#include "fs/cli/FolderCopy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "fs/cli/PartialCopy.h"

namespace keyfold {
namespace {

constexpr mode_t kOwnersAll = 0700;
constexpr mode_t kSetIds = S_ISUID | S_ISGID, kPermissions = 01777;

}  // namespace

Result<UniqueFd> FolderCopy::OpenOrMake(const CopyObject& object, const UniqueFd& at) {
  if (!object.place->to.valid()) return Status::FromErrno(ENOENT, "open");
  const int folder = object.place->to.get();
  auto to = OpenAt(folder, object.name, O_RDONLY | O_DIRECTORY);
  if (to.status().sys_errno() != ENOENT || run_.plan.dry_run) return to;
  KF_RETURN_IF_ERROR(Make(object, at));
  return OpenAt(folder, object.name, O_RDONLY | O_DIRECTORY);
}

// Its owner can work in it until it is finished.
Status FolderCopy::Make(const CopyObject& object, const UniqueFd& at) {
  const int folder = object.place->to.get();
  const std::string partial = NewPartialName();
  if (::mkdirat(folder, partial.c_str(), kOwnersAll) != 0)
    return Status::FromErrno(errno, "make");
  Status status = [&]() -> Status {
    KF_ASSIGN_OR_RETURN(const UniqueFd made,
                        OpenAt(folder, partial, O_RDONLY | O_DIRECTORY));
    KF_RETURN_IF_ERROR(LockPartial(made.get()));
    KF_RETURN_IF_ERROR(GiveAttributes(at.get(), object.st, made.get(),
                                      run_.plan.keeping, kOwnersAll,
                                      run_.LostOf(run_.Copy(object.Path()))));
    return GivePartialItsName(folder, partial, object.name, false);
  }();
  if (!status.ok()) (void)::unlinkat(folder, partial.c_str(), AT_REMOVEDIR);
  return status;
}

void FolderCopy::Finish(int root) {
  for (const SeenFolder& folder : seen_)
    if (!run_.tally.stopped()) FinishOne(root, folder);
}

// FinishOne gives what only can be given when nothing more comes into it. A folder
// of other permissions was there before, and keeps them.
void FolderCopy::FinishOne(int root, const SeenFolder& folder) {
  const std::string path = run_.Copy(folder.path);
  const auto fd = OpenBelow(root, folder.path);
  if (!fd.ok()) return run_.tally.Failed(path, fd.status());
  struct stat now;
  if (::fstat(fd->get(), &now) != 0)
    return run_.tally.Failed(path, Status::FromErrno(errno, "look at"));
  const Lost lost = run_.LostOf(path);
  const mode_t wanted = ModeOf(folder.st, run_.plan.keeping) & kPermissions;
  const mode_t there = now.st_mode & kPermissions;
  if (there != wanted && there != (wanted | kOwnersAll))
    lost("permissions of a folder that was there",
         Status::Told(Error::kSystem, EEXIST, "it keeps its own"));
  else if (there != wanted &&
           ::fchmod(fd->get(), wanted | (now.st_mode & kSetIds)) != 0)
    lost("mode", Status::FromErrno(errno, "mode"));
  Status status = GiveTimes(folder.st, fd->get(), lost);
  if (status.ok() && ::fsync(fd->get()) != 0) status = Status::FromErrno(errno, "sync");
  if (!status.ok()) run_.tally.Failed(path, status);
}

}  // namespace keyfold
