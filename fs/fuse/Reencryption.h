// How a program asks the mount to encrypt a file anew: an ioctl on a descriptor of it
// that is open for writing. Plain values.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace keyfold {

struct Reencryption {
  // In: how much to encrypt anew, at most kMostReencrypted of which is done at once. 0:
  // give the file another data key, or learn how far that is which was cut off.
  uint64_t bytes = 0;
  // Out.
  uint64_t done = 0, total = 0;
  uint64_t finished = 0;  // 1: nothing is left under the former data key
};

inline constexpr unsigned long kReencryptIoctl = _IOWR('K', 1, Reencryption);
inline constexpr uint64_t kMostReencrypted = 8 << 20;

}  // namespace keyfold
