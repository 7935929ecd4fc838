// Attended: long work in a thread of its own, while this one shows how far it is and
// waits for the signals that end a program.
#pragma once

#include <functional>

namespace keyfold {

struct AttendedWork {
  std::function<void()> run;
  // Called when a signal arrived: `run` is to return soon. It may wait for a filesystem
  // that does not answer, so another signal ends the program at once; so `run` must
  // leave what a kill may leave.
  std::function<void()> stop;
  // Called twice a second meanwhile, and once after `run`.
  std::function<void()> tick;
};

// Attend returns when `run` has; false if a signal cut it off.
bool Attend(const AttendedWork& work);

}  // namespace keyfold
