// Session: how one browser becomes the console's, without a password.
//
// Owns: the token of the printed address, which is exchanged once, within ten minutes,
// for the value of a cookie. Must not know: HTTP. Thread-safe.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "kms/base/Clock.h"

namespace keyfold {

class Session {
 public:
  explicit Session(const Clock& clock = Clock::System());

  // 32 random bytes, in Base64url.
  const std::string& token() const { return token_; }
  // Exchange gives the cookie's value for the token; empty for another one, when it was
  // exchanged before, or is too old.
  std::optional<std::string> Exchange(std::string_view token);
  // Holds tells whether `cookie` is the value that was given.
  bool Holds(std::string_view cookie) const;

 private:
  const Clock& clock_;
  const TimePoint begun_;
  const std::string token_;
  mutable std::mutex mutex_;  // guards what follows
  std::string cookie_;        // empty before the exchange
};

}  // namespace keyfold
