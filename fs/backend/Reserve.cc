#include "fs/backend/Reserve.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

namespace keyfold {
namespace {

constexpr uid_t kNobody = 65534;

}  // namespace

void GiveUpResourceLimits() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (::syscall(SYS_capget, &header, sets) != 0) return;
  auto& set = sets[CAP_TO_INDEX(CAP_SYS_RESOURCE)];
  set.effective &= ~CAP_TO_MASK(CAP_SYS_RESOURCE);
  set.permitted &= ~CAP_TO_MASK(CAP_SYS_RESOURCE);
  (void)::syscall(SYS_capset, &header, sets);
}

// Capabilities stay: without CAP_FSETID each write would take the set-user-id bit
// from the file.
OutsideReserve::OutsideReserve() {
  if (::geteuid() != 0) return;
  if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0) return;
  active_ = true;
  ::setfsuid(kNobody);
}

OutsideReserve::~OutsideReserve() {
  if (!active_) return;
  ::setfsuid(0);
  if (::prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) != 0) std::abort();
}

}  // namespace keyfold
