#include "fs/cli/TreeCopy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "fs/cli/PartialCopy.h"

namespace keyfold {
namespace {

Result<std::vector<std::string>> NamesIn(int folder) {
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenSource(folder, ".", O_RDONLY | O_DIRECTORY));
  return SortedEntries(std::move(fd));
}

}  // namespace

Status TreeCopy::Run(const std::string& from, const std::string& to) {
  struct stat st;
  if (::stat(from.c_str(), &st) != 0) return Status::FromErrno(errno, from);
  const bool is_folder = S_ISDIR(st.st_mode);
  const size_t slash = from.rfind('/');
  run_.from = is_folder ? from : from.substr(0, slash);
  run_.to = to;
  device_ = st.st_dev;
  const std::string folder = run_.from.empty() ? "/" : run_.from;
  auto root = std::make_shared<CopyPlace>();
  root->from = UniqueFd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root->from.valid()) return Status::FromErrno(errno, from);
  root->to = UniqueFd(::open(to.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A dry run of an export may have none.
  if (!root->to.valid() && !(run_.plan.dry_run && errno == ENOENT))
    return Status::FromErrno(errno, to);
  root_ = root;
  if (is_folder)
    Folder(root_);
  else
    Entry(root_, from.substr(slash + 1));
  files_.Wait();
  links_.Make(root_, files_);
  if (!run_.plan.dry_run) folders_.Finish(root_->to.get());
  if (!run_.plan.dry_run && ::fsync(root_->to.get()) != 0 && run_.tally.failure().ok())
    run_.tally.Failed(to, Status::FromErrno(errno, "sync"));
  return run_.tally.failure();
}

void TreeCopy::Folder(const CopyPlacePtr& place) {
  const auto names = NamesIn(place->from.get());
  if (!names.ok()) return run_.tally.Failed(run_.Source(place->path), names.status());
  if (!run_.plan.dry_run) {
    const Status swept =
        SweepPartials(place->to.get(), [&](const std::string& name, const Status& why) {
          run_.tally.LeftOut(
              run_.Copy(place->path + name),
              "a copy that was cut off left it, and it stays: " + why.message());
        });
    if (!swept.ok()) return run_.tally.Failed(run_.Copy(place->path), swept);
  }
  for (const std::string& name : *names) {
    if (run_.tally.stopped()) return;
    Entry(place, name);
  }
}

void TreeCopy::Entry(const CopyPlacePtr& place, const std::string& name) {
  CopyObject object{place, name, {}};
  const auto at = OpenAt(place->from.get(), name, O_PATH);
  // What went away meanwhile needs nothing.
  if (at.status().sys_errno() == ENOENT) return;
  if (!at.ok()) return run_.tally.Failed(run_.Source(object.Path()), at.status());
  if (::fstat(at->get(), &object.st) != 0)
    return run_.tally.Failed(run_.Source(object.Path()),
                             Status::FromErrno(errno, "look at"));
  // Files of one filesystem (overlayfs) may tell of several devices.
  if (S_ISDIR(object.st.st_mode) && object.st.st_dev != device_ && !run_.plan.cross)
    return run_.tally.LeftOut(run_.Source(object.Path()), "it is another filesystem's");
  if (IsPartialName(name))
    return run_.tally.LeftOut(run_.Source(object.Path()),
                              "its name is that of a copy that was cut off");
  if (S_ISDIR(object.st.st_mode)) return SubFolder(object, *at);
  if (S_ISREG(object.st.st_mode)) {
    if (!links_.Takes(object)) files_.Take(object);
    return;
  }
  specials_.Take(object, *at);
}

void TreeCopy::SubFolder(const CopyObject& object, const UniqueFd& at) {
  auto to = folders_.OpenOrMake(object, at);
  const int error = to.status().sys_errno();
  if (error == ENOTDIR || error == ELOOP)
    return run_.tally.Conflict(run_.Copy(object.Path()), "it is no folder");
  if (!to.ok() && !(run_.plan.dry_run && error == ENOENT))
    return run_.tally.Failed(run_.Copy(object.Path()), to.status());
  auto place = std::make_shared<CopyPlace>();
  place->from = UniqueFd(::fcntl(at.get(), F_DUPFD_CLOEXEC, 0));
  if (!place->from.valid())
    return run_.tally.Failed(run_.Source(object.Path()),
                             Status::FromErrno(errno, "open"));
  if (to.ok()) place->to = *std::move(to);
  place->path = object.Path() + "/";
  run_.tally.Count(&TreeCopyCounts::folders);
  Folder(place);
  folders_.Seen(object);
}

}  // namespace keyfold
