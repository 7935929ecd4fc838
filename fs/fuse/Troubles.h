// Troubles: what the machine denies the daemon, told in the log in words that say what
// to do; each kind once a minute, since it comes with every request.
//
// Must not know: who asked for what. Thread-safe: mutex_ guards told_.
#pragma once

#include <array>
#include <chrono>
#include <mutex>
#include <optional>
#include <string_view>

namespace keyfold {

class Troubles {
 public:
  // Tell logs `what` failed with an errno that lies with the machine; others, and 0,
  // are the caller's to know. Allocates nothing.
  void Tell(int sys_errno, std::string_view what);

 private:
  std::mutex mutex_;
  // When each kind was told last, in the order of Troubles.cc.
  std::array<std::optional<std::chrono::steady_clock::time_point>, 8> told_;
};

}  // namespace keyfold
