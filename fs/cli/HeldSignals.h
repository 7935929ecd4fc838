// HeldSignals: the signals that end a program, kept waiting so that what was begun can
// be undone or saved. Threads that are started meanwhile do not get them either.
#pragma once

#include <signal.h>

namespace keyfold {

class HeldSignals {
 public:
  HeldSignals() {
    ::sigemptyset(&set_);
    for (int signal : kEnding) ::sigaddset(&set_, signal);
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~HeldSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  // Arrived tells whether one waits.
  bool Arrived() const {
    sigset_t pending;
    ::sigpending(&pending);
    for (int signal : kEnding)
      if (::sigismember(&pending, signal) == 1) return true;
    return false;
  }
  // Take waits for one, and is true if it came in time.
  bool Take(const timespec& time) const {
    return ::sigtimedwait(&set_, nullptr, &time) > 0;
  }

 private:
  static constexpr int kEnding[] = {SIGINT, SIGTERM, SIGHUP};
  sigset_t set_, before_;
};

}  // namespace keyfold
