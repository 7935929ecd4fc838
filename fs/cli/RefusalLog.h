// RefusalLog: refusals and integrity failures in the log, with their request's id, so
// that a line there leads to the audit record.
//
// Owns: the wording, and how many lines one user may cause: the log is everybody's.
// Must not know: where the log goes. Not synchronised.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <utility>

#include "kms/service/RefusedCall.h"

namespace keyfold {

class RefusalLog {
 public:
  void Tell(const RefusedCall& refusal);

 private:
  struct Told {
    std::chrono::steady_clock::time_point since{};
    unsigned lines = 0;
    uint64_t left_out = 0;
  };
  // By user and whether it is damage: who is refused a lot hides no integrity failure.
  std::map<std::pair<uid_t, bool>, Told> told_;
};

}  // namespace keyfold
