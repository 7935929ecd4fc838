// RateLimit: how long to wait so that work done in parts keeps to a rate on the whole.
//
// Must not know: clocks, what the work is. Plain values.
#pragma once

#include <algorithm>
#include <cstdint>

namespace keyfold {

class RateLimit {
 public:
  RateLimit() = default;  // none
  explicit RateLimit(uint64_t bytes_per_second) : rate_(bytes_per_second) {}

  // Pause is how many seconds to wait when `bytes` were done in `seconds`.
  double Pause(uint64_t bytes, double seconds) const {
    if (rate_ == 0) return 0;
    return std::max(0.0,
                    static_cast<double>(bytes) / static_cast<double>(rate_) - seconds);
  }
  // Part is how much to do between two pauses, at most `most`: a quarter of a second's
  // worth, and never nothing.
  uint64_t Part(uint64_t most) const {
    constexpr uint64_t kLeast = 64 << 10;
    return rate_ == 0 ? most : std::clamp(rate_ / 4, std::min(kLeast, most), most);
  }

 private:
  uint64_t rate_ = 0;
};

}  // namespace keyfold
