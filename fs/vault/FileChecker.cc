#include "fs/vault/FileChecker.h"

#include <algorithm>

#include "fs/vault/Errno.h"

namespace keyfold {
namespace {

using Claims = std::vector<File::ClaimedHeader>;

// ClaimsOf are the ways to open the header: what each slot says of its key. A slot that
// was damaged may still parse, so each that differs is tried.
Claims ClaimsOf(File::ClaimedHeader first) {
  Claims claims;
  auto other = File::Other(first);
  claims.push_back(std::move(first));
  if (other) claims.push_back(*std::move(other));
  return claims;
}

bool LacksKey(const Status& status) {
  return status.error() == Error::kDisabled || status.error() == Error::kInvalidState ||
         status.error() == Error::kNotFound;
}

Fault Unreadable(const Status& status) {
  return {FindingKind::kUnreadable, status.message(), {}};
}

// NoKey is the verdict when no claim's data key could be had. Two claims that differ
// are damage to one of them, so that the missing key is believed only if they agree.
Fault NoKey(const Claims& claims, const Status& first) {
  if (LacksKey(first) && claims.size() == 1)
    return {FindingKind::kKeyUnavailable, first.message(), {}};
  if (LacksKey(first))
    return {FindingKind::kHeader, "the header's slots name different keys", {}};
  return {FindingKind::kWrappedKey, first.message(), {}};
}

FindingKind KindOf(const Status& header) {
  switch (header.error()) {
    case Error::kNewerFormat:
      return FindingKind::kNewerFormat;
    case Error::kSystem:
      return FindingKind::kUnreadable;
    default:
      return FindingKind::kHeader;
  }
}

// AddRange joins a range to the one it follows.
void AddRange(std::vector<Fault>* faults, const ByteRange& range, const Status& why) {
  const FindingKind kind =
      IsDamage(why) ? FindingKind::kBlocks : FindingKind::kUnreadable;
  if (!faults->empty() && faults->back().kind == kind && faults->back().range &&
      faults->back().range->end == range.begin) {
    faults->back().range->end = range.end;
    return;
  }
  faults->push_back(
      {kind, IsDamage(why) ? "these bytes do not authenticate" : why.message(), range});
}

}  // namespace

struct FileChecker::Opened {
  std::unique_ptr<File> file;
  Claims claims;
  File::Condition condition;
  Status outcome;              // of CheckHeader, when a key was had
  std::optional<Fault> fault;  // when it was not
};

// Open comes to whether the header authenticates. Fails only when that may not be
// known.
Result<FileChecker::Opened> FileChecker::Open(int path_fd, int flags) const {
  Opened opened;
  auto fd = Reopen(path_fd, flags | O_NOATIME | O_NONBLOCK);
  if (!fd.ok()) fd = Reopen(path_fd, flags | O_NONBLOCK);
  if (!fd.ok()) {
    opened.fault = Unreadable(fd.status());
    return opened;
  }
  opened.file = std::make_unique<File>(std::make_unique<PosixDataFile>(std::move(*fd)),
                                       0, checkpoints_);
  auto first = opened.file->Inspect();
  if (!first.ok()) {
    opened.fault = {KindOf(first.status()), first.status().message(), {}};
    return opened;
  }
  opened.claims = ClaimsOf(*std::move(first));
  Status failure = OkStatus();
  for (const File::ClaimedHeader& claim : opened.claims) {
    const auto dek = keys_.Unwrap(
        claim.slot.blob, {{std::string(kContextStore), store_id_},
                          {std::string(kContextFolder), claim.slot.home_folder.Hex()},
                          {std::string(kContextFile), claim.slot.file_id.Hex()}});
    if (dek.ok()) {
      opened.outcome = opened.file->CheckHeader(*dek, claim, &opened.condition);
      if (opened.outcome.ok() || opened.condition.cut) return opened;
    } else if (!IsDamage(dek.status()) && !LacksKey(dek.status())) {
      return dek.status();
    }
    const Status& one = dek.ok() ? opened.outcome : dek.status();
    // What is known to be damage tells more than a key that is not there.
    if (failure.ok() || LacksKey(failure)) failure = one;
  }
  opened.fault = NoKey(opened.claims, failure);
  if (failure.error() == Error::kSystem) opened.fault = Unreadable(failure);
  if (failure.error() == Error::kCorrupt)
    opened.fault = {FindingKind::kHeader, failure.message(), {}};
  return opened;
}

Result<FileVerdict> FileChecker::Check(int path_fd, bool contents,
                                       const Proceed& proceed) const {
  FileVerdict verdict;
  KF_ASSIGN_OR_RETURN(Opened opened, Open(path_fd, O_RDONLY));
  if (opened.fault) {
    verdict.faults.push_back(*std::move(opened.fault));
    return verdict;
  }
  const File::Condition& found = opened.condition;
  verdict.id = found.file_id;
  for (size_t i = 0; i < kHeaderSlots; ++i)
    if (!found.slots[i])
      verdict.faults.push_back({FindingKind::kHeaderSlot,
                                std::string("header slot ") + (i == 0 ? "A" : "B") +
                                    " does not authenticate; the other one does",
                                {}});
  if (found.cut) {
    Fault cut{FindingKind::kCutShort, opened.outcome.message(), {}};
    if (found.disk_length < found.length)
      cut.range = ByteRange{found.disk_length, found.length};
    verdict.faults.push_back(std::move(cut));
  }
  if (found.lost > 0)
    verdict.faults.push_back({FindingKind::kUnsyncedEnd,
                              "the end was never synced, and lost when the power "
                              "failed or the daemon was killed",
                              ByteRange{found.length, found.length + found.lost}});
  if (contents)
    opened.file->CheckBlocks(proceed,
                             [&](uint64_t begin, uint64_t end, const Status& why) {
                               AddRange(&verdict.faults, {begin, end}, why);
                             });
  return verdict;
}

Status FileChecker::RestoreSlot(int path_fd) const {
  KF_ASSIGN_OR_RETURN(const Opened opened, Open(path_fd, O_RDWR));
  if (opened.fault) return {Error::kCorrupt, opened.fault->why};
  const auto& slots = opened.condition.slots;
  const auto good = std::find(slots.begin(), slots.end(), true);
  const auto bad = std::find(slots.begin(), slots.end(), false);
  if (good == slots.end() || bad == slots.end()) return OkStatus();
  const auto offset = [&](auto slot) {
    return static_cast<size_t>(slot - slots.begin()) * kHeaderSlotSize;
  };
  KF_ASSIGN_OR_RETURN(UniqueFd fd, Reopen(path_fd, O_RDWR | O_NONBLOCK));
  PosixDataFile data(std::move(fd));
  KF_ASSIGN_OR_RETURN(const DataFile::Info before, data.Stat());
  const ByteView raw(opened.claims.front().raw);
  const auto slot = [&](auto which) {
    return ParseHeaderSlot(raw.subspan(offset(which), kHeaderSlotSize));
  };
  // Its wrap may be the last one of that key.
  if (const auto other = slot(bad);
      other.ok() && other->commitment != slot(good)->commitment)
    return {Error::kCorrupt,
            "the damaged slot names another data key, and was left as it is"};
  KF_RETURN_IF_ERROR(
      data.WriteAt(offset(bad), raw.subspan(offset(good), kHeaderSlotSize)));
  KF_RETURN_IF_ERROR(data.SetTimes(before.accessed, before.modified));
  return data.Sync(false);
}

}  // namespace keyfold
