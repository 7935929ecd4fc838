// FailingCalls: a chosen system call of the calling thread fails, in test programs that
// are linked for it (tests/CMakeLists.txt, FailingCalls.cc), whatever code makes it.
#pragma once

#include <cstdint>
#include <string_view>

namespace keyfold {

class FailingCalls {
 public:
  struct Fault {
    uint64_t call = 1;           // counted from 1 since Arm
    int error = 0;               // its errno
    std::string_view only = {};  // count calls of this name; empty: all
    bool half = false;           // a write stores its first half, and does not fail
    bool lasts = false;          // later calls fail alike
  };
  // Arm begins to count; the calls of other threads never fail.
  static void Arm(const Fault& fault);
  // Disarm returns how many calls were counted.
  static uint64_t Disarm();
};

}  // namespace keyfold
