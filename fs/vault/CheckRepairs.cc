// What becomes of what a check finds.
#include <algorithm>

#include "fs/vault/Checker.h"

namespace keyfold {
namespace {

constexpr size_t kLongestReason = 1000;

// DetailsOf tells what a finding is about, for its record.
StoreCheck::Details DetailsOf(const Finding& finding) {
  StoreCheck::Details details = {{"kind", std::string(TraitsOf(finding.kind).name)},
                                 {"backing", finding.backing}};
  if (finding.range)
    details["bytes"] = std::to_string(finding.range->begin) + "-" +
                       std::to_string(finding.range->end - 1);
  return details;
}

}  // namespace

// Settle tells of the faults of an object, each a finding, after what can be done about
// them. An object that is moved aside is not changed besides.
void Checker::Settle(const Entry& entry, int fd, const std::vector<Fault>& given) {
  std::vector<Fault> faults = given;
  if (!entry.name && ClassifyBackingName(entry.backing) == BackingNameKind::kLong)
    faults.push_back({FindingKind::kLongName,
                      "its long name is lost, and it is not listed; who knows the name "
                      "can open it, and rename it and back to have it listed again",
                      {}});
  std::stable_partition(faults.begin(), faults.end(), [](const Fault& fault) {
    return TraitsOf(fault.kind).remedy == Remedy::kQuarantine;
  });
  std::string moved;
  for (const Fault& fault : faults) {
    Finding finding{fault.kind,  entry.Path(), entry.BackingPath(),
                    fault.range, fault.why,    false,
                    ""};
    if (!moved.empty()) {
      finding.repaired = true;
      finding.action = moved;
    } else if (options_.repair) {
      const Status repaired = Repair(entry, fd, &finding);
      if (!repaired.ok())
        finding.action = "could not be repaired: " + repaired.message();
      if (finding.repaired && TraitsOf(fault.kind).remedy == Remedy::kQuarantine)
        moved = finding.action;
    }
    Tell(finding);
  }
}

// Repair does what the kind of finding lets do, after that is recorded.
Status Checker::Repair(const Entry& entry, int fd, Finding* finding) {
  const Remedy remedy = TraitsOf(finding->kind).remedy;
  struct stat st;
  if (remedy == Remedy::kNone) return OkStatus();
  if (remedy == Remedy::kTrim && (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0 ||
                                  (!S_ISDIR(st.st_mode) && st.st_nlink > 1)))
    return OkStatus();  // which of several names are former ones is not known here
  KF_RETURN_IF_ERROR(
      check_.Record("RepairStore", finding->path, DetailsOf(*finding), OkStatus()));
  switch (remedy) {
    case Remedy::kNone:
      break;
    case Remedy::kQuarantine: {
      KF_ASSIGN_OR_RETURN(
          const std::string place,
          quarantine_.Move(entry.folder->fd(), entry.backing, *finding));
      finding->action = "moved to " + place;
      break;
    }
    case Remedy::kRestoreSlot:
      KF_RETURN_IF_ERROR(files_.RestoreSlot(fd));
      finding->action = "written anew from the good slot";
      break;
    case Remedy::kTrim:
      KF_RETURN_IF_ERROR(Trim(entry, fd));
      finding->action = "bound to its present name alone";
      break;
  }
  finding->repaired = true;
  return OkStatus();
}

// Trim leaves an object of one name the binding to that.
Status Checker::Trim(const Entry& entry, int fd) const {
  struct stat st;
  if (::fstatat(fd, "", &st, AT_EMPTY_PATH) != 0)
    return Status::FromErrno(errno, "stat");
  if (S_ISDIR(st.st_mode)) {
    KF_ASSIGN_OR_RETURN(FolderDescriptor folder, ReadFolderDescriptor(keys_, fd));
    folder.bindings = {keys_.Bind(folder.id, entry.folder->id(), *entry.name)};
    return WriteFolderDescriptor(keys_, fd, folder);
  }
  KF_ASSIGN_OR_RETURN(FileNames names, ReadFileNames(fd));
  names.bindings = {keys_.Bind(names.id, entry.folder->id(), *entry.name)};
  return WriteFileNames(fd, names);
}

void Checker::Tell(const Finding& finding) {
  const std::lock_guard lock(told_mutex_);
  if (TraitsOf(finding.kind).gravity == Gravity::kDamage) {
    const Status recorded =
        check_.Record("CheckFile", finding.path, DetailsOf(finding),
                      {Error::kCorrupt, finding.why.substr(0, kLongestReason)});
    if (!recorded.ok() && failure_.ok()) failure_ = recorded;
    if (!recorded.ok()) Stop();
  }
  options_.found(finding);
}

void Checker::Fail(Status status) {
  const std::lock_guard lock(told_mutex_);
  if (failure_.ok()) failure_ = std::move(status);
  Stop();
}

}  // namespace keyfold
