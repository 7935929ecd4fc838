// Idle: for how long nobody wanted anything of a mount.
//
// Must not know: what is done about it. Not synchronised.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "kms/service/FileCounts.h"

namespace keyfold {

class Idle {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `calls` is how often the mount's KMS was called. Both outlive it.
  Idle(const FileCounts& counts, std::function<uint64_t()> calls, Time now)
      : counts_(counts), calls_(std::move(calls)), since_(now) {}

  // For is how long no file was open and nothing was asked for. Called often, as it
  // only knows what changed since it was last called.
  std::chrono::steady_clock::duration For(Time now);
  // Restart counts from now on.
  void Restart(Time now) { since_ = now; }

 private:
  uint64_t Asked() const;

  const FileCounts& counts_;
  const std::function<uint64_t()> calls_;
  uint64_t asked_ = 0;
  Time since_;
};

}  // namespace keyfold
