// RefusalLog: refusals and integrity failures in the log, with their request's id, so
// that a line there leads to the audit record.
//
// Owns: the wording, and how many lines one user may cause: the log is everybody's.
// Must not know: where the log goes. Not synchronised.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

#include "kms/service/RefusedCall.h"

namespace keyfold {

class RefusalLog {
 public:
  void Tell(const RefusedCall& refusal);

 private:
  struct OfUser {
    std::chrono::steady_clock::time_point since{};
    unsigned told = 0;
    uint64_t left_out = 0;
  };
  std::map<uid_t, OfUser> users_;
};

}  // namespace keyfold
