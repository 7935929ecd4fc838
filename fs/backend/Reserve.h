// The room that a filesystem keeps for root is for the daemon's own records, so
// that a right can be revoked when users have filled the disk. Their contents may
// not take it, nor what lies beyond their quota.
//
// Thread-safe: both change the calling thread's credentials only.
#pragma once

namespace keyfold {

// GiveUpResourceLimits takes CAP_SYS_RESOURCE, which would let the thread, and
// those it starts later, pass over quotas and the reserve.
void GiveUpResourceLimits();

// OutsideReserve makes what the calling thread writes count as a user's, and what the
// threads write that it starts meanwhile. They keep their capabilities, so they may do
// what they could, but act as nobody on the filesystem. Nothing in a daemon without
// privilege, which has no reserve.
class OutsideReserve {
 public:
  OutsideReserve();
  ~OutsideReserve();
  OutsideReserve(const OutsideReserve&) = delete;
  OutsideReserve& operator=(const OutsideReserve&) = delete;

 private:
  bool active_ = false;
};

}  // namespace keyfold
