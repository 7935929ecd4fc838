#include "fs/cli/Confinement.h"

#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "fs/backend/Capabilities.h"

namespace keyfold {
namespace {

// What serving a mount takes.
constexpr auto kServing = {
    CAP_CHOWN,            // objects made for a user, and chown by root on the mount
    CAP_DAC_OVERRIDE,     // what root does on the mount; the store's own files
    CAP_DAC_READ_SEARCH,  // objects by handle (Anchor.h)
    CAP_FOWNER,           // what root does on the mount; O_NOATIME
    CAP_FSETID,           // set-id bits of files of groups that the daemon is not in
    CAP_MKNOD,            // device nodes that root makes on the mount
    CAP_SETUID,           // to act as the calling user (setfsuid)
    CAP_SETGID,           // and with that user's groups
    CAP_SETPCAP,          // to keep capabilities while it acts as nobody (Reserve.h)
    CAP_IPC_LOCK,         // secrets in locked memory
};
// What mounting takes besides.
constexpr auto kMounting = {
    CAP_SYS_ADMIN,     // mount(2), and to widen its readahead
    CAP_SYS_RESOURCE,  // to raise the limit on open files
};
// What keeping keys takes.
constexpr auto kKeeping = {
    CAP_SYS_PTRACE,  // to see which program calls (/proc/PID/exe), and in whose groups
    CAP_IPC_LOCK,    // secrets in locked memory
};
// What it takes where other users own what is opened.
constexpr auto kOthersFiles = {
    CAP_DAC_OVERRIDE,  // a store, a TPM's device, a file with a PIN
    CAP_CHOWN,         // SQLite makes its journal as the key store is
    CAP_FOWNER,
};
// What opening a store takes besides.
constexpr auto kOpening = {
    CAP_DAC_READ_SEARCH,   // a file of the root key's secret
    CAP_NET_BIND_SERVICE,  // a port below 1024
    CAP_SETPCAP,           // to give up the rest later
};

using Wanted = std::vector<unsigned>;

template <typename... Lists>
Wanted AllOf(const Lists&... lists) {
  Wanted wanted;
  (wanted.insert(wanted.end(), lists.begin(), lists.end()), ...);
  return wanted;
}

// The bounding set limits what the process could ever get, by executing a program too.
// Taking from it needs CAP_SETPCAP, which who isn't root hasn't; no_new_privs does the
// same for them.
Status Bound(const Wanted& wanted) {
  for (unsigned one = 0; ::prctl(PR_CAPBSET_READ, one, 0, 0, 0) >= 0; ++one) {
    const bool keep = std::find(wanted.begin(), wanted.end(), one) != wanted.end();
    if (!keep && ::prctl(PR_CAPBSET_DROP, one, 0, 0, 0) != 0)
      return Status::FromErrno(errno, "give up capabilities");
  }
  return OkStatus();
}

Status Keep(const Wanted& wanted) {
  const Capabilities own = Capabilities::OfThread();
  if (own.Empty()) return OkStatus();
  if (own.Has(CAP_SETPCAP)) KF_RETURN_IF_ERROR(Bound(wanted));
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return Status::FromErrno(errno, "give up capabilities");
  Capabilities kept = Capabilities::None();
  for (const unsigned one : wanted) kept.AddFrom(own, one);
  return kept.Take() ? OkStatus() : Status::FromErrno(errno, "give up capabilities");
}

Status GainNothing() {
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
             ? OkStatus()
             : Status::FromErrno(errno, "no_new_privs");
}

}  // namespace

Status KeepForMounting() {
  KF_RETURN_IF_ERROR(Keep(AllOf(kServing, kMounting)));
  return ::geteuid() == 0 ? GainNothing() : OkStatus();
}

Status KeepForServing() {
  KF_RETURN_IF_ERROR(Keep(AllOf(kServing)));
  return GainNothing();
}

Status KeepForOpening() {
  KF_RETURN_IF_ERROR(Keep(AllOf(kKeeping, kOthersFiles, kOpening)));
  return GainNothing();
}

Status KeepForKeys(bool listens, bool others_files) {
  Wanted wanted = AllOf(kKeeping);
  if (others_files) wanted = AllOf(wanted, kOthersFiles);
  if (listens) wanted.push_back(CAP_NET_BIND_SERVICE);
  return Keep(wanted);
}

Status Filter(bool wanted, SystemCalls calls) {
  if (!wanted) {
    spdlog::warn("confine=off: the daemon may make any system call.");
    return OkStatus();
  }
  const auto filtered = FilterSystemCalls(calls);
  if (!filtered.ok())
    spdlog::warn("The daemon may make any system call, as the kernel refused: {}",
                 filtered.status().message());
  return OkStatus();
}

bool LockMemory() {
  rlimit limit;
  const bool unlimited =
      Capabilities::OfThread().Has(CAP_IPC_LOCK) ||
      (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
  // On fault: what is mapped and never touched takes no memory.
  return unlimited && ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

}  // namespace keyfold
