#include "fs/cli/Idle.h"

namespace keyfold {

// Free space is asked for by what looks after machines, and keeps no mount in use.
uint64_t Idle::Asked() const {
  uint64_t sum = calls_();
  for (size_t i = 0; i < static_cast<size_t>(FileOperation::kOther); ++i)
    for (const SharedCount& bucket : counts_.operations[i].buckets) sum += bucket;
  return sum;
}

std::chrono::steady_clock::duration Idle::For(Time now) {
  const uint64_t asked = Asked();
  if (asked != asked_ || counts_.open_handles > 0) since_ = now;
  asked_ = asked;
  return now - since_;
}

}  // namespace keyfold
