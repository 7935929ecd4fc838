#include "fs/backend/Reserve.h"

#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>

#include "fs/backend/Capabilities.h"

namespace keyfold {
namespace {

constexpr uid_t kNobody = 65534;

}  // namespace

void GiveUpResourceLimits() {
  Capabilities without = Capabilities::OfThread();
  without.GiveUp(CAP_SYS_RESOURCE);
  (void)without.Take();  // a sandbox may forbid it
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
