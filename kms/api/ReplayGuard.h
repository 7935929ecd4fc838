// ReplayGuard: no signed request is taken twice.
//
// A signature is remembered as long as its time of signing is within the clock skew.
// Two programs that ask the same in the same second make the same signature, as times
// have whole seconds; so a signature may come again within kSameSecond of the first,
// unless the request bears an id of its own (amz-sdk-invocation-id, signed). Memory is
// bounded: who signs more than kMostRemembered requests in that time loses the oldest,
// and what was signed before those is refused from then on; so is what was signed
// before the guard was made, as it may have been seen by the one before.
//
// Owns: what was seen. Must not know: how signatures are made. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "kms/api/SignatureV4.h"

namespace keyfold {

class ReplayGuard {
 public:
  static constexpr size_t kMostRemembered = 1 << 16;  // of one user
  static constexpr std::chrono::seconds kSameSecond{2};

  explicit ReplayGuard(TimePoint now)
      : forgotten_(std::chrono::floor<std::chrono::seconds>(now)) {}

  // Admit is kInvalidSignature for a signature that was seen before. It was checked,
  // and is `who`'s; `now` is the server's clock.
  Status Admit(const std::string& who, const Authorization& authorization,
               TimePoint now);

 private:
  // Time of signing and part of the signature.
  using Mark = std::pair<TimePoint, std::string>;
  struct Seen {
    std::map<Mark, TimePoint> first;  // when it came
    TimePoint floor{};                // what was signed by then is not remembered
  };
  void Sweep(TimePoint now);

  std::mutex mutex_;     // guards the rest
  TimePoint forgotten_;  // what was signed before is not remembered
  std::map<std::string, Seen> seen_;
  TimePoint swept_{};
};

}  // namespace keyfold
