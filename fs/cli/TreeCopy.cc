#include "fs/cli/TreeCopy.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <cerrno>

#include "fs/cli/PartialCopy.h"

namespace keyfold {
namespace {

// Each folder is opened by its path, below the two that were opened first; the kernel
// takes none of PATH_MAX.
constexpr size_t kLongestPath = PATH_MAX - sizeof "/";

Result<std::vector<std::string>> NamesIn(int folder) {
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenSource(folder, ".", O_RDONLY | O_DIRECTORY));
  return SortedEntries(std::move(fd));
}

constexpr char kElsewhere[] = "it is another filesystem's";

}  // namespace

Status TreeCopy::Run(const std::string& from, UniqueFd to, const std::string& to_path) {
  run_.to = to_path;
  KF_ASSIGN_OR_RETURN(const std::string file, Begin(from, std::move(to)));
  if (file.empty())
    Contents(root_);
  else
    Entry(root_, file);
  while (!waiting_.empty() && !run_.tally.stopped()) {
    const std::string path = std::move(waiting_.back());
    waiting_.pop_back();
    Folder(path);
  }
  files_.Wait();
  links_.Make(root_, files_);
  folders_.Finish(root_->to.get());
  if (!run_.plan.dry_run && ::fsync(root_->to.get()) != 0 && run_.tally.failure().ok())
    run_.tally.Failed(to_path, Status::FromErrno(errno, "sync"));
  return run_.tally.failure();
}

Result<std::string> TreeCopy::Begin(const std::string& from, UniqueFd to) {
  auto root = std::make_shared<CopyPlace>();
  KF_ASSIGN_OR_RETURN(root->from, OpenBelow(AT_FDCWD, from, O_PATH, true));
  struct stat st;
  if (::fstat(root->from.get(), &st) != 0) return Status::FromErrno(errno, from);
  device_ = st.st_dev;
  run_.from = from;
  std::string file;
  if (!S_ISDIR(st.st_mode)) {
    file = BaseOf(from);
    run_.from = from.substr(0, from.size() - file.size() - 1);
    KF_ASSIGN_OR_RETURN(
        root->from, OpenBelow(AT_FDCWD, ParentOf(from), O_PATH | O_DIRECTORY, true));
  }
  if (to.valid() && ::fstat(to.get(), &st) != 0)
    return Status::FromErrno(errno, run_.to);
  if (to.valid()) run_.to_owner = st.st_uid;
  root->to = std::move(to);
  root_ = root;
  return file;
}

void TreeCopy::Folder(const std::string& path) {
  auto in = std::make_shared<CopyPlace>(), within = std::make_shared<CopyPlace>();
  in->path = ParentOf(path);
  within->path = path + "/";
  auto at = OpenBelow(root_->from.get(), path, O_PATH | O_DIRECTORY, run_.plan.cross);
  if (!at.ok()) return NotOpened(path, at.status());
  within->from = *std::move(at);
  CopyObject object{in, BaseOf(path), {}};
  if (::fstat(within->from.get(), &object.st) != 0)
    return run_.tally.Failed(run_.Source(path), Status::FromErrno(errno, "look at"));
  if (root_->to.valid()) {
    auto to =
        OpenBelow(root_->to.get(), in->path, O_PATH | O_DIRECTORY, run_.plan.cross);
    if (!to.ok() && !(run_.plan.dry_run && to.status().sys_errno() == ENOENT))
      return run_.tally.Failed(run_.Copy(path), to.status());
    if (to.ok()) in->to = *std::move(to);
  }
  auto copy = folders_.Enter(object, within->from);
  if (!copy) return;
  within->to = *std::move(copy);
  Contents(within);
}

void TreeCopy::Contents(const CopyPlacePtr& place) {
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

void TreeCopy::NotOpened(const std::string& path, const Status& why) {
  if (why.sys_errno() == ENOENT) return run_.tally.WentAway(run_.Source(path));
  if (why.sys_errno() == EXDEV)
    return run_.tally.LeftOut(run_.Source(path), kElsewhere);
  run_.tally.Failed(run_.Source(path), why);
}

void TreeCopy::Entry(const CopyPlacePtr& place, const std::string& name) {
  CopyObject object{place, name, {}};
  const std::string path = object.Path();
  const auto at = OpenBelow(place->from.get(), name, O_PATH, run_.plan.cross);
  if (!at.ok()) return NotOpened(path, at.status());
  if (::fstat(at->get(), &object.st) != 0)
    return run_.tally.Failed(run_.Source(path), Status::FromErrno(errno, "look at"));
  // Files of one filesystem (overlayfs) may tell of several devices.
  if (S_ISDIR(object.st.st_mode) && object.st.st_dev != device_ && !run_.plan.cross)
    return run_.tally.LeftOut(run_.Source(path), kElsewhere);
  if (IsPartialName(name))
    return run_.tally.LeftOut(run_.Source(path),
                              "its name is that of a copy that was cut off");
  if (S_ISREG(object.st.st_mode)) {
    if (!links_.Takes(object)) files_.Take(object);
  } else if (!S_ISDIR(object.st.st_mode)) {
    specials_.Take(object, *at);
  } else if (path.size() <= kLongestPath) {
    waiting_.push_back(path);
  } else {
    run_.tally.Failed(run_.Source(path),
                      Status::Told(Error::kSystem, ENAMETOOLONG,
                                   "it lies too deep: its path is longer than 4 KiB"));
  }
}

}  // namespace keyfold
