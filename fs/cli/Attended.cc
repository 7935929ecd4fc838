#include "fs/cli/Attended.h"

#include <unistd.h>

#include <future>

#include "fs/cli/ExitCode.h"
#include "fs/cli/HeldSignals.h"

namespace keyfold {
namespace {

constexpr timespec kTick{0, 500'000'000};

}  // namespace

bool Attend(const AttendedWork& work) {
  const HeldSignals signals;
  bool cut_off = false;
  auto done = std::async(std::launch::async, work.run);
  const auto running = [&] {
    return done.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  };
  while (running() && !cut_off) {
    cut_off = signals.Take(kTick) && running();
    if (cut_off)
      work.stop();
    else
      work.tick();
  }
  while (running())
    if (signals.Take(kTick) && running()) ::_exit(kExitFailed);
  done.get();
  work.tick();
  return !cut_off;
}

}  // namespace keyfold
