#include "fs/cli/TreeCopy.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <thread>

#include "fs/cli/PartialCopy.h"

namespace keyfold {
namespace {

constexpr mode_t kOwnersAll = 0700;
constexpr mode_t kSetIds = S_ISUID | S_ISGID, kPermissions = 01777;
constexpr uint64_t kMostAtOnce = 1 << 20;
constexpr int kMostAttempts = 3;
constexpr auto kPause = std::chrono::milliseconds(50);

// EndsAll: the next object would fail the same way.
bool EndsAll(const Status& why) {
  switch (why.sys_errno()) {
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case ENOMEM:
    case ENOTCONN:
    case ECONNABORTED:
      return true;
    default:
      return false;
  }
}

bool IsSameTime(const timespec& source, const timespec& copy) {
  if (source.tv_sec != copy.tv_sec) return false;
  // Some filesystems keep whole seconds only.
  return source.tv_nsec == copy.tv_nsec || copy.tv_nsec == 0;
}

bool IsSameFile(const struct stat& source, const struct stat& copy) {
  return S_ISREG(copy.st_mode) && source.st_size == copy.st_size &&
         IsSameTime(source.st_mtim, copy.st_mtim);
}

Result<std::vector<std::string>> NamesIn(int folder) {
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenSource(folder, ".", O_RDONLY | O_DIRECTORY));
  return SortedEntries(std::move(fd));
}

Result<struct stat> StatOf(int folder, const std::string& name) {
  struct stat st;
  if (::fstatat(folder, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return Status::FromErrno(errno, "look at");
  return st;
}

// OpenBelow goes down from `root` one folder at a time, through no link.
Result<UniqueFd> OpenBelow(int root, const std::string& path) {
  KF_ASSIGN_OR_RETURN(UniqueFd fd, OpenAt(root, ".", O_RDONLY | O_DIRECTORY));
  std::istringstream parts(path);
  for (std::string part; std::getline(parts, part, '/');) {
    KF_ASSIGN_OR_RETURN(fd, OpenAt(fd.get(), part, O_RDONLY | O_DIRECTORY));
  }
  return fd;
}

std::string Base(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string FolderOf(const std::string& path) {
  return path.substr(0, path.rfind('/') + 1);
}

}  // namespace

TreeCopyCounts TreeCopy::Counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void TreeCopy::Count(uint64_t TreeCopyCounts::*which, uint64_t by) {
  const std::lock_guard lock(mutex_);
  counts_.*which += by;
}

void TreeCopy::Failed(const std::string& path, const Status& why) {
  if (why.sys_errno() == ECANCELED) return;
  const std::lock_guard lock(mutex_);
  if (EndsAll(why)) {
    if (!failure_.ok()) return;  // told once
    failure_ = why;
    stopped_ = true;
  }
  ++counts_.failed;
  listener_.failed(path, why);
}

void TreeCopy::Conflict(const std::string& path, const std::string& difference) {
  const std::lock_guard lock(mutex_);
  ++counts_.conflicts;
  listener_.failed(path,
                   Status::Told(Error::kSystem, EEXIST,
                                "it is there already, and differs: " + difference));
}

void TreeCopy::LeftOut(const std::string& path, const std::string& why) {
  const std::lock_guard lock(mutex_);
  ++counts_.left_out;
  listener_.left_out(path, why);
}

Lost TreeCopy::LostOf(const std::string& path) {
  return [this, path](const std::string& what, const Status& why) {
    const std::lock_guard lock(mutex_);
    listener_.lost(path, what, why);
  };
}

// Spend waits as the limit wants it.
Status TreeCopy::Spend(uint64_t bytes) {
  double pause = 0;
  {
    const std::lock_guard lock(mutex_);
    spent_ += bytes;
    counts_.passed = spent_;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_)
            .count();
    pause = plan_.limit.Pause(spent_, seconds);
  }
  // A large pause would make stopping wait.
  while (pause > 0 && !stopped_) {
    const double part = std::min(pause, 0.2);
    std::this_thread::sleep_for(std::chrono::duration<double>(part));
    pause -= part;
  }
  return stopped_ ? Status::FromErrno(ECANCELED, "copy") : OkStatus();
}

WholeFileOptions TreeCopy::OptionsOf(const std::string& path) {
  WholeFileOptions options;
  options.keeping = plan_.keeping;
  options.read_back = plan_.read_back;
  options.overwrite = plan_.overwrite;
  options.part = plan_.limit.Part(kMostAtOnce);
  options.passed = [this](uint64_t bytes, bool again) {
    return Spend(again ? 0 : bytes);
  };
  options.lost = LostOf(path);
  return options;
}

Status TreeCopy::Run(const std::string& from, const std::string& to) {
  struct stat st;
  if (::stat(from.c_str(), &st) != 0) return Status::FromErrno(errno, from);
  const bool is_folder = S_ISDIR(st.st_mode);
  const size_t slash = from.rfind('/');
  from_ = is_folder ? from : from.substr(0, slash);
  to_ = to;
  device_ = st.st_dev;
  const std::string folder = from_.empty() ? "/" : from_;
  auto root = std::make_shared<Place>();
  root->from = UniqueFd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root->from.valid()) return Status::FromErrno(errno, from);
  root->to = UniqueFd(::open(to.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A dry run of an export may have none.
  if (!root->to.valid() && !(plan_.dry_run && errno == ENOENT))
    return Status::FromErrno(errno, to);
  root_ = root;
  workers_ = std::make_unique<Workers>(plan_.jobs);
  if (is_folder)
    Folder(root_);
  else
    Entry(root_, from.substr(slash + 1));
  workers_.reset();  // waits for them
  for (const LaterLink& later : later_)
    if (!stopped_) LinkLater(later);
  for (const SeenFolder& folder_seen : folders_)
    if (!stopped_ && !plan_.dry_run) FinishFolder(folder_seen);
  if (!plan_.dry_run && ::fsync(root_->to.get()) != 0 && failure_.ok())
    Failed(to, Status::FromErrno(errno, "sync"));
  return failure_;
}

void TreeCopy::Folder(const PlacePtr& place) {
  const auto names = NamesIn(place->from.get());
  if (!names.ok()) return Failed(Source(place->path), names.status());
  if (!plan_.dry_run) {
    const Status swept =
        SweepPartials(place->to.get(), [&](const std::string& name, const Status& why) {
          LeftOut(Copy(place->path + name),
                  "a copy that was cut off left it, and it stays: " + why.message());
        });
    if (!swept.ok()) return Failed(Copy(place->path), swept);
  }
  for (const std::string& name : *names) {
    if (stopped_) return;
    Entry(place, name);
  }
}

void TreeCopy::Entry(const PlacePtr& place, const std::string& name) {
  Object object{place, name, {}};
  const auto at = OpenAt(place->from.get(), name, O_PATH);
  // What went away meanwhile needs nothing.
  if (at.status().sys_errno() == ENOENT) return;
  if (!at.ok()) return Failed(Source(object.Path()), at.status());
  if (::fstat(at->get(), &object.st) != 0)
    return Failed(Source(object.Path()), Status::FromErrno(errno, "look at"));
  // Files of one filesystem (overlayfs) may tell of several devices.
  if (S_ISDIR(object.st.st_mode) && object.st.st_dev != device_ && !plan_.cross)
    return LeftOut(Source(object.Path()), "it is another filesystem's");
  if (IsPartialName(name))
    return LeftOut(Source(object.Path()),
                   "its name is that of a copy that was cut off");
  if (S_ISDIR(object.st.st_mode)) return SubFolder(object, *at);
  if (S_ISREG(object.st.st_mode)) return File(object);
  Special(object, *at);
}

void TreeCopy::SubFolder(const Object& object, const UniqueFd& at) {
  auto to = OpenOrMake(object, at);
  const int error = to.status().sys_errno();
  if (error == ENOTDIR || error == ELOOP)
    return Conflict(Copy(object.Path()), "it is no folder");
  if (!to.ok() && !(plan_.dry_run && error == ENOENT))
    return Failed(Copy(object.Path()), to.status());
  auto place = std::make_shared<Place>();
  place->from = UniqueFd(::fcntl(at.get(), F_DUPFD_CLOEXEC, 0));
  if (!place->from.valid())
    return Failed(Source(object.Path()), Status::FromErrno(errno, "open"));
  if (to.ok()) place->to = *std::move(to);
  place->path = object.Path() + "/";
  Count(&TreeCopyCounts::folders);
  Folder(place);
  folders_.push_back({object.Path(), object.st});
}

Result<UniqueFd> TreeCopy::OpenOrMake(const Object& object, const UniqueFd& at) {
  if (!object.place->to.valid()) return Status::FromErrno(ENOENT, "open");
  const int folder = object.place->to.get();
  auto to = OpenAt(folder, object.name, O_RDONLY | O_DIRECTORY);
  if (to.status().sys_errno() != ENOENT || plan_.dry_run) return to;
  KF_RETURN_IF_ERROR(MakeFolder(object, at));
  return OpenAt(folder, object.name, O_RDONLY | O_DIRECTORY);
}

// Its owner can work in it until it is finished.
Status TreeCopy::MakeFolder(const Object& object, const UniqueFd& at) {
  const int folder = object.place->to.get();
  const std::string partial = NewPartialName();
  if (::mkdirat(folder, partial.c_str(), kOwnersAll) != 0)
    return Status::FromErrno(errno, "make");
  Status status = [&]() -> Status {
    KF_ASSIGN_OR_RETURN(const UniqueFd made,
                        OpenAt(folder, partial, O_RDONLY | O_DIRECTORY));
    KF_RETURN_IF_ERROR(LockPartial(made.get()));
    KF_RETURN_IF_ERROR(GiveAttributes(at.get(), object.st, made.get(), plan_.keeping,
                                      kOwnersAll, LostOf(Copy(object.Path()))));
    return GivePartialItsName(folder, partial, object.name, false);
  }();
  if (!status.ok()) (void)::unlinkat(folder, partial.c_str(), AT_REMOVEDIR);
  return status;
}

bool TreeCopy::MayReplace(const Object& object, mode_t there) {
  if (plan_.overwrite && !S_ISDIR(there)) return true;
  const bool same_kind = (there & S_IFMT) == (object.st.st_mode & S_IFMT);
  Conflict(Copy(object.Path()), !same_kind       ? "it is of another kind"
                                : S_ISREG(there) ? "in size or time"
                                : S_ISLNK(there) ? "it leads elsewhere"
                                                 : "it is another device");
  return false;
}

void TreeCopy::File(const Object& object) {
  if (object.st.st_nlink > 1) {
    const auto [first, is_first] =
        first_names_.try_emplace({object.st.st_dev, object.st.st_ino}, object.Path());
    if (!is_first)
      return later_.push_back(
          {first->second, object.place->path, object.name, object.st});
  }
  if (!IsToBeMade(object)) return;
  if (plan_.dry_run) {
    Count(&TreeCopyCounts::files);
    return Count(&TreeCopyCounts::bytes, static_cast<uint64_t>(object.st.st_size));
  }
  Hand([this, object] { CopyFile(object); });
}

void TreeCopy::Hand(std::function<void()> task) {
  if (workers_ == nullptr) return task();
  workers_->Hand(std::move(task));
}

bool TreeCopy::IsToBeMade(const Object& object) {
  if (!object.place->to.valid()) return true;
  const auto there = StatOf(object.place->to.get(), object.name);
  if (there.status().sys_errno() == ENOENT) return true;
  if (!there.ok()) {
    Failed(Copy(object.Path()), there.status());
    return false;
  }
  if (!IsSameFile(object.st, *there)) return MayReplace(object, there->st_mode);
  if (plan_.compare) {
    Hand([this, object] { CompareFile(object); });
    return false;
  }
  Count(&TreeCopyCounts::there);
  Count(&TreeCopyCounts::there_bytes, static_cast<uint64_t>(object.st.st_size));
  return false;
}

void TreeCopy::CompareFile(const Object& object) {
  if (stopped_) return;
  const auto same =
      HaveSameContents({object.place->from.get(), object.name}, object.st,
                       {object.place->to.get(), object.name}, OptionsOf(object.Path()));
  if (!same.ok()) return Failed(Copy(object.Path()), same.status());
  if (!*same && plan_.overwrite && !plan_.dry_run) return CopyFile(object);
  if (!*same && !plan_.overwrite) return Conflict(Copy(object.Path()), "in contents");
  Count(*same ? &TreeCopyCounts::there : &TreeCopyCounts::files);
  Count(*same ? &TreeCopyCounts::there_bytes : &TreeCopyCounts::bytes,
        static_cast<uint64_t>(object.st.st_size));
}

void TreeCopy::CopyFile(const Object& object) {
  for (int attempt = 1; !stopped_; ++attempt) {
    bool of_source = false;
    const Status status = OrNoMemory([&] {
      return MakeWholeFile({object.place->from.get(), object.name}, object.st,
                           {object.place->to.get(), object.name},
                           OptionsOf(object.Path()), &of_source);
    });
    // Somebody lost a right to the file, and all have to open it again.
    if (status.sys_errno() == ESTALE && attempt < kMostAttempts) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    if (status.sys_errno() == EEXIST)
      return Conflict(Copy(object.Path()), "somebody made it meanwhile");
    if (!status.ok())
      return Failed(of_source ? Source(object.Path()) : Copy(object.Path()), status);
    Count(&TreeCopyCounts::files);
    return Count(&TreeCopyCounts::bytes, static_cast<uint64_t>(object.st.st_size));
  }
}

// Special is what has no contents: links, fifos, sockets, devices.
void TreeCopy::Special(const Object& object, const UniqueFd& at) {
  const bool is_link = S_ISLNK(object.st.st_mode);
  const auto which = is_link ? &TreeCopyCounts::links : &TreeCopyCounts::others;
  if (plan_.dry_run && !object.place->to.valid()) return Count(which);
  const int folder = object.place->to.get();
  const auto there = StatOf(folder, object.name);
  const int error = there.status().sys_errno();
  if (!there.ok() && error != ENOENT)
    return Failed(Copy(object.Path()), there.status());
  if (there.ok()) {
    bool same = (there->st_mode & S_IFMT) == (object.st.st_mode & S_IFMT);
    if (same && is_link) {
      const auto text = ReadLinkAt(at.get(), "");
      const auto text_there = ReadLinkAt(folder, object.name);
      same = text.ok() && text_there.ok() && *text == *text_there;
    } else if (same) {
      same = there->st_rdev == object.st.st_rdev;
    }
    if (same) return Count(which);
    if (!MayReplace(object, there->st_mode)) return;
  }
  if (!plan_.dry_run) {
    const std::string partial = NewPartialName();
    Status made = MakeSpecial(object, at, partial);
    if (made.ok()) made = GivePartialItsName(folder, partial, object.name, there.ok());
    if (!made.ok()) {
      (void)::unlinkat(folder, partial.c_str(), 0);
      return Failed(Copy(object.Path()), made);
    }
  }
  Count(which);
}

// MakeSpecial makes it under the name `partial`.
Status TreeCopy::MakeSpecial(const Object& object, const UniqueFd& at,
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
  struct stat now;
  if (::fstat(made.get(), &now) != 0) return Status::FromErrno(errno, "look at");
  // Somebody may have put something else in its place.
  if ((now.st_mode & S_IFMT) != (object.st.st_mode & S_IFMT))
    return Status::FromErrno(ESTALE, "look at");
  const Lost lost = LostOf(Copy(object.Path()));
  KF_RETURN_IF_ERROR(
      GiveAttributes(at.get(), object.st, made.get(), plan_.keeping, 0, lost));
  return GiveTimes(object.st, made.get(), lost);
}

void TreeCopy::LinkLater(const LaterLink& later) {
  if (plan_.dry_run) return Count(&TreeCopyCounts::hard_links);
  if (const Status status = LinkNow(later); !status.ok())
    Failed(Copy(later.folder + later.name), status);
}

// LinkNow gives a file that is there a further name. Where that cannot be, the name
// gets a file of its own.
Status TreeCopy::LinkNow(const LaterLink& later) {
  KF_ASSIGN_OR_RETURN(const UniqueFd first_folder,
                      OpenBelow(root_->to.get(), FolderOf(later.first)));
  const std::string first = Base(later.first);
  KF_ASSIGN_OR_RETURN(const struct stat copy, StatOf(first_folder.get(), first));
  if (!IsSameFile(later.st, copy))
    return Status::Told(Error::kSystem, EAGAIN,
                        "its other name was not copied: " + Copy(later.first));
  auto place = std::make_shared<Place>();
  place->path = later.folder;
  KF_ASSIGN_OR_RETURN(place->to, OpenBelow(root_->to.get(), later.folder));
  const auto there = StatOf(place->to.get(), later.name);
  if (there.ok() && there->st_ino == copy.st_ino) {
    Count(&TreeCopyCounts::hard_links);
    return OkStatus();
  }
  if (!there.ok() && ::linkat(first_folder.get(), first.c_str(), place->to.get(),
                              later.name.c_str(), 0) == 0) {
    Count(&TreeCopyCounts::hard_links);
    return OkStatus();
  }
  if (!there.ok())
    LostOf(Copy(later.folder + later.name))("hard link",
                                            Status::FromErrno(errno, "link"));
  KF_ASSIGN_OR_RETURN(place->from, OpenBelow(root_->from.get(), later.folder));
  const Object object{place, later.name, later.st};
  if (IsToBeMade(object)) CopyFile(object);
  return OkStatus();
}

// FinishFolder gives what only can be given when nothing more comes into it. A folder
// of other permissions was there before, and keeps them.
void TreeCopy::FinishFolder(const SeenFolder& folder) {
  const std::string path = Copy(folder.path);
  const auto fd = OpenBelow(root_->to.get(), folder.path);
  if (!fd.ok()) return Failed(path, fd.status());
  struct stat now;
  if (::fstat(fd->get(), &now) != 0)
    return Failed(path, Status::FromErrno(errno, "look at"));
  const Lost lost = LostOf(path);
  const mode_t wanted = ModeOf(folder.st, plan_.keeping) & kPermissions;
  const mode_t there = now.st_mode & kPermissions;
  if (there != wanted && there != (wanted | kOwnersAll))
    lost("permissions of a folder that was there",
         Status::Told(Error::kSystem, EEXIST, "it keeps its own"));
  else if (there != wanted &&
           ::fchmod(fd->get(), wanted | (now.st_mode & kSetIds)) != 0)
    lost("mode", Status::FromErrno(errno, "mode"));
  Status status = GiveTimes(folder.st, fd->get(), lost);
  if (status.ok() && ::fsync(fd->get()) != 0) status = Status::FromErrno(errno, "sync");
  if (!status.ok()) Failed(path, status);
}

}  // namespace keyfold
