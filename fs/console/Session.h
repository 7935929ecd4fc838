// Session: how one browser becomes the console's, without a password, and knows the
// console again.
//
// Owns: the token of the printed address, which is exchanged once, within ten minutes,
// for the value of a cookie; the key that proves answers. Must not know: HTTP.
// Thread-safe.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "kms/base/Clock.h"
#include "kms/base/SecretBytes.h"

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
  // ProofKey is what a page that was let in checks answers with; 32 bytes in Base64.
  std::string ProofKey() const;
  // ProofOf is the HMAC-SHA-256 of `answer` under that key, in Base64. Who takes the
  // port when the console has ended can't make one.
  std::string ProofOf(std::string_view answer) const;

 private:
  const Clock& clock_;
  const TimePoint begun_;
  const std::string token_;
  const SecretBytes proof_key_;
  mutable std::mutex mutex_;  // guards what follows
  std::string cookie_;        // empty before the exchange
};

}  // namespace keyfold
