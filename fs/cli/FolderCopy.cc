#include "fs/cli/FolderCopy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "fs/cli/PartialCopy.h"

namespace keyfold {
namespace {

constexpr int kMostFolderAttempts = 3;
constexpr mode_t kOwnersAll = 0700;
constexpr mode_t kSetIds = S_ISUID | S_ISGID, kPermissions = 01777;

Result<struct stat> Look(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return Status::FromErrno(errno, "look at");
  return st;
}

// CheckMadeFolder: the folder is the one that was just made in `parent`, or no better
// than that for who put it there: it is to be given away.
Status CheckMadeFolder(int parent, int made) {
  KF_ASSIGN_OR_RETURN(const struct stat folder, Look(parent));
  KF_ASSIGN_OR_RETURN(const struct stat st, Look(made));
  KF_ASSIGN_OR_RETURN(const auto names, SortedEntries(made));
  const bool is_it = st.st_dev == folder.st_dev && names.empty() &&
                     (st.st_uid == ::geteuid() || st.st_uid == folder.st_uid);
  return is_it ? OkStatus()
               : Status::Told(Error::kSystem, ESTALE,
                              "somebody put another folder in its place");
}

// WhyNotInto says why root is not to put copies into a folder that was found; empty if
// it may. Other users' copies go where the kernel lets them.
std::string WhyNotInto(const struct stat& found, const struct stat& source,
                       uid_t owner) {
  if (::geteuid() != 0) return {};
  if (found.st_uid != 0 && found.st_uid != owner && found.st_uid != source.st_uid)
    return "it belongs to another user";
  if ((found.st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH &&
      (source.st_mode & S_IWOTH) == 0)
    return "all users may write to it";
  return {};
}

}  // namespace

std::optional<UniqueFd> FolderCopy::Enter(const CopyObject& object,
                                          const UniqueFd& at) {
  const std::string path = run_.Copy(object.Path());
  Entered entered{object.Path(), object.st};
  auto found = FindOrMake(object, at, &entered.is_made);
  const int error = found.status().sys_errno();
  if (run_.plan.dry_run && error == ENOENT) {
    run_.tally.Count(&TreeCopyCounts::folders);
    return UniqueFd();
  }
  const auto fails = [&](const Status& why) {
    run_.tally.Failed(path, why);
    return std::nullopt;
  };
  const auto conflicts = [&](const std::string& why) {
    run_.tally.Conflict(path, why);
    return std::nullopt;
  };
  if (error == EXDEV) {
    run_.tally.LeftOut(path, "another filesystem is mounted there");
    return std::nullopt;
  }
  if (error == ENOTDIR || error == ELOOP) return conflicts("it is no folder");
  if (!found.ok()) return fails(found.status());
  const auto now = Look(found->get());
  if (!now.ok()) return fails(now.status());
  const std::string why_not = WhyNotInto(*now, object.st, run_.to_owner);
  if (!why_not.empty()) return conflicts(why_not);
  // What a former run finished may be closed for its owner, who goes on with it.
  if (!run_.plan.dry_run && now->st_uid == ::geteuid() &&
      (now->st_mode & kOwnersAll) != kOwnersAll) {
    entered.was_made_writable = true;
    entered.own_mode = now->st_mode & (kPermissions | kSetIds);
    if (::chmod(FdPath(found->get()).c_str(), entered.own_mode | kOwnersAll) != 0)
      return fails(Status::FromErrno(errno, "mode"));
  }
  entered_.push_back(entered);
  auto open = Reopen(found->get(), O_RDONLY | O_DIRECTORY);
  if (!open.ok()) return fails(open.status());
  run_.tally.Count(&TreeCopyCounts::folders);
  return *std::move(open);
}

// Another copy may make it meanwhile, or take for left what is just being made here.
Result<UniqueFd> FolderCopy::FindOrMake(const CopyObject& object, const UniqueFd& at,
                                        bool* is_made) {
  for (int attempt = 1;; ++attempt) {
    auto found = Find(object);
    if (found.status().sys_errno() != ENOENT || run_.plan.dry_run) return found;
    found = Make(object, at);
    *is_made = found.ok();
    const int error = found.status().sys_errno();
    const bool is_others = error == EEXIST || IsOfOtherSweep(error);
    if (!is_others || attempt == kMostFolderAttempts) return found;
  }
}

Result<UniqueFd> FolderCopy::Find(const CopyObject& object) {
  if (!object.place->to.valid()) return Status::FromErrno(ENOENT, "open");
  return OpenBelow(object.place->to.get(), object.name, O_PATH | O_DIRECTORY,
                   run_.plan.cross);
}

// Make leaves its owner able to work in it until it is finished.
Result<UniqueFd> FolderCopy::Make(const CopyObject& object, const UniqueFd& at) {
  const int folder = object.place->to.get();
  const std::string partial = NewPartialName();
  if (::mkdirat(folder, partial.c_str(), kOwnersAll) != 0)
    return Status::FromErrno(errno, "make");
  UniqueFd made;
  const Status status = [&]() -> Status {
    KF_ASSIGN_OR_RETURN(made,
                        OpenBelow(folder, partial, O_RDONLY | O_DIRECTORY, false));
    KF_RETURN_IF_ERROR(LockPartial(made.get()));
    KF_RETURN_IF_ERROR(CheckMadeFolder(folder, made.get()));
    KF_RETURN_IF_ERROR(GiveAttributes(at.get(), object.st, made.get(),
                                      run_.plan.keeping, kOwnersAll,
                                      run_.LostOf(run_.Copy(object.Path()))));
    return GivePartialItsName(folder, partial, object.name, false);
  }();
  if (status.ok()) return made;
  (void)::unlinkat(folder, partial.c_str(), AT_REMOVEDIR);
  return status;
}

// What is within a folder is finished before it, which may close it.
void FolderCopy::Finish(int root) {
  if (run_.plan.dry_run) return;
  for (auto folder = entered_.rbegin(); folder != entered_.rend(); ++folder)
    if (!run_.tally.stopped() || folder->was_made_writable) FinishOne(root, *folder);
}

// FinishOne gives what only can be given when nothing more comes into it. It takes at
// most its owner's permissions away: whatever bears the name by now is opened to
// nobody. A folder of other permissions was there before, and keeps them.
void FolderCopy::FinishOne(int root, const Entered& folder) {
  const std::string path = run_.Copy(folder.path);
  const auto fd = OpenBelow(root, folder.path, O_RDONLY | O_DIRECTORY, run_.plan.cross);
  if (!fd.ok()) return run_.tally.Failed(path, fd.status());
  const auto now = Look(fd->get());
  if (!now.ok()) return run_.tally.Failed(path, now.status());
  const Lost lost = run_.LostOf(path);
  if (run_.plan.keeping.owners && now->st_uid != folder.st.st_uid && !folder.is_made)
    lost("owner of a folder that was there",
         Status::Told(Error::kSystem, EEXIST, "it keeps its own"));
  const mode_t wanted = ModeOf(folder.st, run_.plan.keeping) & kPermissions;
  const mode_t there = now->st_mode & kPermissions;
  const mode_t before =
      folder.was_made_writable ? folder.own_mode & kPermissions : there;
  const bool is_made_here = there == (wanted | kOwnersAll);
  const mode_t last = is_made_here ? wanted : before;
  if (last != wanted)
    lost("permissions of a folder that was there",
         Status::Told(Error::kSystem, EEXIST, "it keeps its own"));
  if (last != there && there == (last | kOwnersAll) &&
      ::fchmod(fd->get(), last | (now->st_mode & kSetIds)) != 0)
    lost("mode", Status::FromErrno(errno, "mode"));
  if (run_.tally.stopped()) return;
  Status status = GiveTimes(folder.st, fd->get(), lost);
  if (status.ok() && ::fsync(fd->get()) != 0) status = Status::FromErrno(errno, "sync");
  if (!status.ok()) run_.tally.Failed(path, status);
}

}  // namespace keyfold
