#include "fs/cli/SpecialCopy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "fs/cli/PartialCopy.h"

namespace keyfold {
namespace {

// CheckMadeSpecial: it is what was just made in `folder`, or no better than that for
// who put it there: it is to be given away.
Status CheckMadeSpecial(int folder, const struct stat& source, int made) {
  struct stat in, st;
  if (::fstat(folder, &in) != 0 || ::fstat(made, &st) != 0)
    return Status::FromErrno(errno, "look at");
  const bool is_it = (st.st_mode & S_IFMT) == (source.st_mode & S_IFMT) &&
                     (S_ISLNK(st.st_mode) || st.st_rdev == source.st_rdev) &&
                     st.st_nlink <= 1 &&
                     (st.st_uid == ::geteuid() || st.st_uid == in.st_uid);
  return is_it ? OkStatus()
               : Status::Told(Error::kSystem, ESTALE,
                              "somebody put something else in its place");
}

}  // namespace

void SpecialCopy::Take(const CopyObject& object, const UniqueFd& at) {
  const bool is_link = S_ISLNK(object.st.st_mode);
  const auto which = is_link ? &TreeCopyCounts::links : &TreeCopyCounts::others;
  if (run_.plan.dry_run && !object.place->to.valid()) return run_.tally.Count(which);
  const int folder = object.place->to.get();
  const auto there = StatOf(folder, object.name);
  const int error = there.status().sys_errno();
  if (!there.ok() && error != ENOENT)
    return run_.tally.Failed(run_.Copy(object.Path()), there.status());
  if (there.ok()) {
    bool same = (there->st_mode & S_IFMT) == (object.st.st_mode & S_IFMT);
    if (same && is_link) {
      const auto text = ReadLinkAt(at.get(), "");
      const auto text_there = ReadLinkAt(folder, object.name);
      same = text.ok() && text_there.ok() && *text == *text_there;
    } else if (same) {
      same = there->st_rdev == object.st.st_rdev;
    }
    if (same) {
      There(object, at);
      return run_.tally.Count(which);
    }
    if (!run_.MayReplace(object.Path(), object.st.st_mode, there->st_mode)) return;
  }
  if (!run_.plan.dry_run) {
    const std::string partial = NewPartialName();
    Status made = Make(object, at, partial);
    if (made.ok()) made = GivePartialItsName(folder, partial, object.name, there.ok());
    if (!made.ok()) {
      (void)::unlinkat(folder, partial.c_str(), 0);
      return run_.tally.Failed(run_.Copy(object.Path()), made);
    }
  }
  run_.tally.Count(which);
}

// There tells, or with --compare mends, what else differs of what is there already.
void SpecialCopy::There(const CopyObject& object, const UniqueFd& at) {
  const int folder = object.place->to.get();
  const auto there = OpenBelow(folder, object.name, O_PATH, run_.plan.cross);
  struct stat st;
  if (!there.ok() || ::fstat(there->get(), &st) != 0) return;  // gone already
  const bool is_it = CheckMadeSpecial(folder, object.st, there->get()).ok();
  if (run_.plan.compare && is_it)
    run_.Mend(object.Path(), object.st, at.get(), there->get());
  else
    run_.TellOther(object.Path(), object.st, st);
}

// Make makes it under the name `partial`.
Status SpecialCopy::Make(const CopyObject& object, const UniqueFd& at,
                         const std::string& partial) {
  const int folder = object.place->to.get();
  const char* name = partial.c_str();
  if (S_ISLNK(object.st.st_mode)) {
    KF_ASSIGN_OR_RETURN(const std::string text, ReadLinkAt(at.get(), ""));
    if (::symlinkat(text.c_str(), folder, name) != 0)
      return Status::FromErrno(errno, "link");
  } else if (::mknodat(folder, name, (object.st.st_mode & S_IFMT) | 0600,
                       object.st.st_rdev) != 0) {
    return Status::FromErrno(errno, "make");
  }
  KF_ASSIGN_OR_RETURN(const UniqueFd made, OpenAt(folder, partial, O_PATH));
  KF_RETURN_IF_ERROR(CheckMadeSpecial(folder, object.st, made.get()));
  const Lost lost = run_.LostOf(run_.Copy(object.Path()));
  KF_RETURN_IF_ERROR(
      GiveAttributes(at.get(), object.st, made.get(), run_.plan.keeping, 0, lost));
  return GiveTimes(object.st, made.get(), lost);
}

}  // namespace keyfold
