#include "fs/vault/Quarantine.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "fs/format/Names.h"

namespace keyfold {
namespace {

constexpr char kQuarantine[] = "quarantine";
constexpr char kManifest[] = "manifest";
constexpr int kMostRuns = 100;  // within one second

Status Failed(const std::string& what) { return Status::FromErrno(errno, what); }

// MoveInto moves an entry to a folder that nobody else writes to.
Status MoveInto(int from, int to, const std::string& name) {
  if (::renameat2(from, name.c_str(), to, name.c_str(), RENAME_NOREPLACE) == 0)
    return OkStatus();
  // Filesystems that know no flags, network ones among them.
  if (errno == EINVAL && ::renameat(from, name.c_str(), to, name.c_str()) == 0)
    return OkStatus();
  return Failed("move to quarantine");
}

// KeepSidecar moves the sidecar of a long name behind its entry.
void KeepSidecar(int from, int to, const std::string& name) {
  if (ClassifyBackingName(name) != BackingNameKind::kLong) return;
  (void)MoveInto(from, to, SidecarName(name));
}

}  // namespace

Status Quarantine::Open() {
  if (manifest_.valid()) return OkStatus();
  KF_ASSIGN_OR_RETURN(const UniqueFd store,
                      OpenAt(AT_FDCWD, store_, O_RDONLY | O_DIRECTORY));
  if (::mkdirat(store.get(), kQuarantine, 0700) != 0 && errno != EEXIST)
    return Failed(kQuarantine);
  KF_ASSIGN_OR_RETURN(const UniqueFd all,
                      OpenAt(store.get(), kQuarantine, O_RDONLY | O_DIRECTORY));
  std::string name = time_;
  for (int run = 2; ::mkdirat(all.get(), name.c_str(), 0700) != 0; ++run) {
    if (errno != EEXIST || run > kMostRuns) return Failed(name);
    name = time_ + "-" + std::to_string(run);
  }
  KF_ASSIGN_OR_RETURN(folder_, OpenAt(all.get(), name, O_RDONLY | O_DIRECTORY));
  KF_ASSIGN_OR_RETURN(UniqueFd manifest, OpenAt(folder_.get(), kManifest,
                                                O_WRONLY | O_CREAT | O_EXCL, 0600));
  if (::fsync(folder_.get()) != 0 || ::fsync(all.get()) != 0 ||
      ::fsync(store.get()) != 0)
    return Failed(kQuarantine);
  path_ = std::string(kQuarantine) + "/" + name;
  manifest_ = std::move(manifest);
  return OkStatus();
}

Status Quarantine::Note(const std::string& place, const Finding& why) {
  const nlohmann::json line = {{"object", place},
                               {"was", why.backing},
                               {"path", why.path},
                               {"kind", TraitsOf(why.kind).name},
                               {"why", why.why}};
  const std::string text =
      line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  KF_RETURN_IF_ERROR(WriteAt(manifest_.get(), noted_, AsBytes(text)));
  if (::fdatasync(manifest_.get()) != 0) return Failed(kManifest);
  noted_ += static_cast<off_t>(text.size());
  return OkStatus();
}

Result<std::string> Quarantine::Move(int folder, const std::string& name,
                                     const Finding& why) {
  const std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(Open());
  const std::string number = std::to_string(++moved_);
  if (::mkdirat(folder_.get(), number.c_str(), 0700) != 0) return Failed(number);
  KF_ASSIGN_OR_RETURN(const UniqueFd place,
                      OpenAt(folder_.get(), number, O_RDONLY | O_DIRECTORY));
  KF_RETURN_IF_ERROR(Note(path_ + "/" + number, why));
  KF_RETURN_IF_ERROR(MoveInto(folder, place.get(), name));
  KeepSidecar(folder, place.get(), name);
  if (::fsync(place.get()) != 0 || ::fsync(folder_.get()) != 0)
    return Failed("move to quarantine");
  KF_RETURN_IF_ERROR(SyncFolder(folder));
  return path_ + "/" + number;
}

}  // namespace keyfold
