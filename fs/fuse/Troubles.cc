#include "fs/fuse/Troubles.h"

#include <errno.h>
#include <spdlog/spdlog.h>

namespace keyfold {
namespace {

constexpr auto kSilence = std::chrono::minutes(1);

struct Remedy {
  int error;
  const char* text;
};
constexpr Remedy kRemedies[] = {
    {EIO,
     "The disk under the store fails. See the kernel's log (dmesg), and copy what "
     "can still be read."},
    {EUCLEAN,
     "The filesystem under the store is damaged. See the kernel's log (dmesg), "
     "unmount and check it with fsck."},
    {EROFS,
     "The filesystem under the store is read-only. The kernel makes it so when "
     "it fails: see its log (dmesg). Else mount it writable."},
    {ENOSPC, "The filesystem under the store is full. Make room."},
    {EDQUOT,
     "A quota on the filesystem under the store is used up. Make room, or have it "
     "raised (setquota, xfs_quota): it counts for who owns the files."},
    {EMFILE,
     "The daemon has as many files open as it may. Raise its limit: LimitNOFILE "
     "of its unit, or ulimit -n before mounting."},
    {ENFILE, "The machine has as many files open as it may. Raise fs.file-max."},
    {ENOMEM, "There is no memory left for the daemon."},
};

}  // namespace

void Troubles::Tell(int sys_errno, std::string_view what) {
  static_assert(std::size(kRemedies) == std::tuple_size_v<decltype(told_)>);
  for (size_t i = 0; i < told_.size(); ++i) {
    if (kRemedies[i].error != sys_errno) continue;
    const auto now = std::chrono::steady_clock::now();
    {
      std::lock_guard lock(mutex_);
      if (told_[i] && now - *told_[i] < kSilence) return;
      told_[i] = now;
    }
    spdlog::error("{}. {}", what, kRemedies[i].text);
  }
}

}  // namespace keyfold
