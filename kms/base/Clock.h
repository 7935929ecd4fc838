// Clock: the time of day, injected so that tests can move it.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

namespace keyfold {

using TimePoint = std::chrono::sys_time<std::chrono::milliseconds>;

// Clock implementations are safe for concurrent use.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  // System is the machine's real-time clock.
  static const Clock& System();
};

// FakeClock stands still until it is told to move.
class FakeClock : public Clock {
 public:
  explicit FakeClock(TimePoint start) : now_(start.time_since_epoch().count()) {}
  TimePoint Now() const override {
    return TimePoint(std::chrono::milliseconds(now_.load()));
  }
  void Advance(std::chrono::milliseconds by) { now_ += by.count(); }

 private:
  std::atomic<int64_t> now_;
};

// FormatUtc renders ISO 8601 with seconds, "2026-01-31T12:00:00Z".
std::string FormatUtc(TimePoint time);

}  // namespace keyfold
