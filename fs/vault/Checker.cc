#include "fs/vault/Checker.h"

#include <errno.h>

#include <algorithm>

#include "fs/vault/Errno.h"

namespace keyfold {
namespace {

constexpr char kTree[] = "tree";

Fault FaultOf(FindingKind damage, const Status& status) {
  FindingKind kind = damage;
  if (status.error() == Error::kSystem) kind = FindingKind::kUnreadable;
  if (status.error() == Error::kNewerFormat) kind = FindingKind::kNewerFormat;
  return {kind, status.message(), {}};
}

Fault SpareBinding() {
  return {FindingKind::kSpareBinding,
          "bound to former names too, by a rename that was cut off",
          {}};
}

}  // namespace

// Frame is a folder the walk is in.
struct Checker::Frame {
  std::shared_ptr<Folder> folder;
  std::string path, backing;
  WalkPosition position;
  std::vector<std::string> names;  // ascending
  size_t next = 0;

  bool Has(const std::string& name) const {
    return std::binary_search(names.begin(), names.end(), name);
  }
};

Checker::Checker(CheckOptions options, const MetadataKey& key, StoreCheck& check,
                 std::unique_ptr<Checkpoints> checkpoints, Quarantine& quarantine)
    : options_(std::move(options)),
      keys_(key, options_.vault.store_id),
      check_(check),
      checkpoints_(std::move(checkpoints)),
      files_(options_.vault.store_id, check_, *checkpoints_),
      quarantine_(quarantine),
      order_(options_.before),
      beyond_(options_.before.beyond.begin(), options_.before.beyond.end()) {}

Checker::~Checker() = default;

Status Checker::Run() {
  workers_ = std::make_unique<Workers>(options_.jobs);
  const Status walked = OrNoMemory([&] { return Walk(); });
  frames_.clear();
  const bool whole = walked.ok() && !stopped_;
  workers_.reset();
  complete_ = whole && !stopped_;
  const std::lock_guard lock(told_mutex_);
  return failure_.ok() ? walked : failure_;
}

void Checker::Stop() {
  stopped_ = true;
  order_.Close();
}

Status Checker::Walk() {
  KF_RETURN_IF_ERROR(EnterRoot());
  while (!frames_.empty() && !stopped_) {
    Frame& frame = frames_.back();
    if (frame.next == frame.names.size())
      frames_.pop_back();
    else
      Meet(frame, frame.names[frame.next++]);
  }
  return OkStatus();
}

Status Checker::EnterRoot() {
  KF_ASSIGN_OR_RETURN(UniqueFd fd,
                      OpenAt(AT_FDCWD, options_.vault.tree_path, O_PATH | O_DIRECTORY));
  struct stat st;
  if (::fstatat(fd.get(), "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, options_.vault.tree_path);
  device_ = st.st_dev;
  if (options_.before.through.empty()) ++tally_.folders;
  auto descriptor = ReadFolderDescriptor(keys_, fd.get());
  Status good = descriptor.status();
  if (good.ok() &&
      !HasBinding(descriptor->bindings, keys_.Bind(descriptor->id, FolderId{}, "")))
    good = Status(Error::kCorrupt, "the tree's root is another store's folder");
  if (!good.ok()) {
    const Fault fault = FaultOf(FindingKind::kFolder, good);
    Finding finding{fault.kind, "/", kTree, {}, "", false, ""};
    finding.why = fault.why +
                  "; nothing in the tree can be checked. Restore the "
                  "attribute user.keyfold.folder of tree from a backup";
    Tell(finding);
    return OkStatus();
  }
  return Push(std::make_shared<Folder>(keys_, std::move(fd), *std::move(descriptor)),
              "/", kTree, {});
}

Status Checker::Push(std::shared_ptr<Folder> folder, std::string path,
                     std::string backing, WalkPosition position) {
  Frame frame{std::move(folder),
              std::move(path),
              std::move(backing),
              std::move(position),
              {},
              0};
  KF_ASSIGN_OR_RETURN(frame.names, SortedEntries(frame.folder->fd()));
  // Behind what an earlier check has reached.
  const WalkPosition& after = options_.before.through;
  const size_t depth = frame.position.size();
  if (depth < after.size() &&
      std::equal(frame.position.begin(), frame.position.end(), after.begin()))
    frame.next = static_cast<size_t>(
        std::lower_bound(frame.names.begin(), frame.names.end(), after[depth]) -
        frame.names.begin());
  frames_.push_back(std::move(frame));
  return OkStatus();
}

// IsKnown tells of what an earlier check has done: the folders that lead to what it
// reached, and what lies beyond. What lies before is not met again.
bool Checker::IsKnown(const WalkPosition& position) const {
  const WalkPosition& through = options_.before.through;
  return (position.size() <= through.size() &&
          std::equal(position.begin(), position.end(), through.begin())) ||
         beyond_.contains(position);
}

void Checker::Meet(Frame& frame, const std::string& backing) {
  Entry entry{frame.folder, frame.path,     frame.backing, backing,
              {},           frame.position, false};
  entry.position.push_back(backing);
  entry.known = IsKnown(entry.position);
  const uint64_t number = entry.known ? 0 : order_.Begin(entry.position);
  const auto done = [&] {
    if (!entry.known) order_.Done(number);
  };
  if (const auto fault = Name(frame, &entry)) {
    if (!entry.known) Settle(entry, -1, {*fault});
    return done();
  }
  if (ClassifyBackingName(backing) == BackingNameKind::kSidecar) return done();
  auto fd = OpenAt(frame.folder->fd(), backing, O_PATH);
  struct stat st {};
  Status opened = fd.status();
  if (fd.ok() && ::fstatat(fd->get(), "", &st, AT_EMPTY_PATH) != 0)
    opened = Status::FromErrno(errno, "stat");
  if (!opened.ok() || st.st_dev != device_) {
    const FindingKind kind =
        opened.ok() ? FindingKind::kMountedInto : FindingKind::kUnreadable;
    if (!entry.known)
      Settle(entry, -1,
             {{kind,
               opened.ok() ? "another filesystem is mounted here; it was not "
                             "looked at"
                           : opened.message(),
               {}}});
    return done();
  }
  if (S_ISDIR(st.st_mode)) {
    if (!entry.known) ++tally_.folders;
    const auto folder = CheckFolder(entry, fd->get());
    if (folder != nullptr) {
      const Status pushed = Push(folder, entry.Path() + (entry.name ? "/" : ""),
                                 entry.BackingPath(), entry.position);
      if (!pushed.ok() && !entry.known)
        Settle(entry, fd->get(), {FaultOf(FindingKind::kFolder, pushed)});
    }
    return done();
  }
  if (entry.known) return;
  workers_->Hand([this, entry = std::move(entry), number] {
    const Status status = OrNoMemory([&] {
      CheckObject(entry, number);
      return OkStatus();
    });
    if (!status.ok()) Fail(status);
  });
}

std::optional<Fault> Checker::Name(const Frame& frame, Entry* entry) const {
  const std::string& backing = entry->backing;
  if (backing.starts_with(kTemporaryPrefix))
    return Fault{FindingKind::kHalfMade, "it was being made when a daemon ended", {}};
  switch (ClassifyBackingName(backing)) {
    case BackingNameKind::kForeign:
      return Fault{FindingKind::kForeign, "no Keyfold gives such a name", {}};
    case BackingNameKind::kSidecar:
      if (frame.Has(LongOfSidecar(backing))) return std::nullopt;
      return Fault{FindingKind::kOrphanSidecar,
                   "it holds the name of an entry that is not there",
                   {}};
    case BackingNameKind::kShort:
      entry->name = frame.folder->PlainName(backing);
      if (entry->name) return std::nullopt;
      return Fault{FindingKind::kName, "its name is not one of this folder", {}};
    case BackingNameKind::kLong:
      entry->name = frame.folder->PlainName(backing);
      return std::nullopt;
  }
  return std::nullopt;
}

void Checker::CheckObject(const Entry& entry, uint64_t number) {
  if (stopped_) return;
  auto fd = OpenAt(entry.folder->fd(), entry.backing, O_PATH);
  struct stat st {};
  if (!fd.ok() || ::fstatat(fd->get(), "", &st, AT_EMPTY_PATH) != 0) {
    Settle(entry, -1, {{FindingKind::kUnreadable, "it cannot be opened", {}}});
  } else if (S_ISREG(st.st_mode)) {
    if (!CheckFile(entry, fd->get(), st)) return;
    ++tally_.files;
  } else {
    std::vector<Fault> faults;
    if (const auto fault = CheckSymlink(entry, fd->get(), st)) faults.push_back(*fault);
    ++(S_ISLNK(st.st_mode) ? tally_.links : tally_.nodes);
    Settle(entry, fd->get(), faults);
  }
  order_.Done(number);
}

// CheckFolder returns the folder if what is in it can be looked at.
std::shared_ptr<Folder> Checker::CheckFolder(const Entry& entry, int fd) {
  auto folder = OpenAt(fd, ".", O_PATH | O_DIRECTORY);
  auto descriptor = folder.ok() ? ReadFolderDescriptor(keys_, folder->get())
                                : Result<FolderDescriptor>(folder.status());
  std::vector<Fault> faults;
  bool enter = descriptor.ok();
  if (!descriptor.ok()) {
    faults.push_back(FaultOf(FindingKind::kFolder, descriptor.status()));
    faults.back().why += "; what is in it was not looked at";
  } else {
    const FolderDescriptor& found = *descriptor;
    if (entry.name &&
        !HasBinding(found.bindings,
                    keys_.Bind(found.id, entry.folder->id(), *entry.name))) {
      faults.push_back({FindingKind::kMoved,
                        "the folder was moved or copied here in the backing store; "
                        "what is in it was not looked at",
                        {}});
      enter = false;
    } else if (entry.name && found.bindings.size() > 1) {
      faults.push_back(SpareBinding());
    }
    CheckXattrs(folder->get(), found.id.bytes, &faults);
  }
  if (!entry.known) Settle(entry, fd, faults);
  if (!enter) return nullptr;
  return std::make_shared<Folder>(keys_, std::move(*folder), *std::move(descriptor));
}

bool Checker::CheckFile(const Entry& entry, int fd, const struct stat& st) {
  const auto verdict = VerdictOn(fd, st);
  if (!verdict.ok()) Fail(verdict.status());
  if (stopped_) return false;  // it may be of half the file
  std::vector<Fault> faults = CheckNames(entry, fd, st, *verdict);
  faults.insert(faults.end(), verdict->faults.begin(), verdict->faults.end());
  Settle(entry, fd, faults);
  return true;
}

std::vector<Fault> Checker::CheckNames(const Entry& entry, int fd,
                                       const struct stat& st,
                                       const FileVerdict& verdict) {
  std::vector<Fault> faults;
  const auto names = ReadFileNames(fd);
  if (!names.ok()) {
    faults.push_back(FaultOf(FindingKind::kNames, names.status()));
    return faults;
  }
  const bool bound =
      !entry.name || HasBinding(names->bindings,
                                keys_.Bind(names->id, entry.folder->id(), *entry.name));
  if (verdict.id && *verdict.id != names->id)
    faults.push_back({FindingKind::kMoved, "the file's header is another file's", {}});
  else if (!bound)
    faults.push_back({FindingKind::kMoved,
                      "the file was moved or copied here in the backing store",
                      {}});
  else if (entry.name && names->bindings.size() > st.st_nlink)
    faults.push_back(SpareBinding());
  CheckXattrs(fd, names->id.bytes, &faults);
  return faults;
}

std::optional<Fault> Checker::CheckSymlink(const Entry& entry, int fd,
                                           const struct stat& st) const {
  // Its text is bound to the name.
  if (!S_ISLNK(st.st_mode) || !entry.name) return std::nullopt;
  const auto text = ReadLinkAt(fd, "");
  const Status status = text.ok()
                            ? entry.folder->SymlinkTarget(*entry.name, *text).status()
                            : text.status();
  if (status.ok()) return std::nullopt;
  return FaultOf(FindingKind::kSymlink, status);
}

void Checker::CheckXattrs(int fd, ByteView object, std::vector<Fault>* faults) const {
  const auto present = ListXattrNames(fd);
  if (!present.ok()) {
    faults->push_back(FaultOf(FindingKind::kAttribute, present.status()));
    return;
  }
  for (const std::string& backing : *present) {
    if (!backing.starts_with(kUserXattrPrefix)) continue;
    const auto sealed = DecodeXattrName(backing);
    const auto name = sealed.ok() ? keys_.OpenName(XattrNameAad(object), *sealed)
                                  : Result<Bytes>(sealed.status());
    if (!name.ok()) {
      faults->push_back({FindingKind::kAttribute,
                         "an extended attribute's name does not decrypt",
                         {}});
      continue;
    }
    const auto value = GetXattr(fd, backing);
    if (!value.ok()) {
      faults->push_back(FaultOf(FindingKind::kAttribute, value.status()));
    } else if (*value &&
               !keys_.OpenXattr(XattrValueAad(object, AsText(*name)), **value).ok()) {
      faults->push_back(
          {FindingKind::kAttribute,
           "the extended attribute user." + std::string(AsText(*name)) + " was altered",
           {}});
    }
  }
}

Result<FileVerdict> Checker::VerdictOn(int fd, const struct stat& st) {
  const auto look = [&] {
    return files_.Check(fd, options_.contents, [&](uint64_t bytes) {
      tally_.bytes += bytes;
      return !stopped_;
    });
  };
  if (st.st_nlink == 1) return look();
  std::promise<Result<FileVerdict>> promise;
  Verdict verdict;
  bool first = false;
  {
    const std::lock_guard lock(linked_mutex_);
    Verdict& known = linked_[st.st_ino];
    first = !known.valid();
    if (first) known = promise.get_future().share();
    verdict = known;
  }
  // Whoever was first waits for nobody, and lets those who wait fail as it does.
  if (first) {
    try {
      promise.set_value(look());
    } catch (const std::bad_alloc&) {
      promise.set_exception(std::current_exception());
    }
  }
  return verdict.get();
}

}  // namespace keyfold
