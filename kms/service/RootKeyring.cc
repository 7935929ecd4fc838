#include "kms/service/RootKeyring.h"

namespace keyfold {

Status RootKeyring::CheckLocked() const {
  if (!absence_) return OkStatus();
  return {Error::kUnavailable, "No key can be used since " +
                                   FormatUtc(absence_->since) + ". " + absence_->why};
}

Result<RootKeyring::Secrets> RootKeyring::Use() const {
  std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(CheckLocked());
  return secrets_;
}

Status RootKeyring::Check() const {
  std::lock_guard lock(mutex_);
  return CheckLocked();
}

Status RootKeyring::CheckHeld() const {
  std::lock_guard lock(mutex_);
  return secrets_ != nullptr ? OkStatus() : CheckLocked();
}

std::string RootKeyring::Describe() const {
  std::lock_guard lock(mutex_);
  if (!absence_) return "Available";
  return "Unavailable since " + FormatUtc(absence_->since) +
         (secrets_ != nullptr ? ", still in memory" : ", wiped from memory") + ": " +
         absence_->why;
}

bool RootKeyring::Withhold(const std::string& why, TimePoint now) {
  std::lock_guard lock(mutex_);
  if (absence_ && absence_->why == why) return false;
  absence_ = {absence_ ? absence_->since : now, why};
  return true;
}

bool RootKeyring::Wipe() {
  std::lock_guard lock(mutex_);
  if (!absence_ || secrets_ == nullptr) return false;
  secrets_.reset();
  return true;
}

void RootKeyring::Restore(Secrets secrets) {
  std::lock_guard lock(mutex_);
  secrets_ = std::move(secrets);
  absence_.reset();
}

}  // namespace keyfold
