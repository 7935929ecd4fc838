// RootKeyring: the secrets derived from the root key, for as long as the device that
// unseals it is there.
//
// Owns: when they may be used, and their end. Must not know: devices, how long a device
// may be away. Thread-safe: mutex_ guards everything.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "kms/base/Clock.h"
#include "kms/service/Material.h"

namespace keyfold {

class RootKeyring {
 public:
  using Secrets = std::shared_ptr<const RootSecrets>;

  explicit RootKeyring(const RootKey& root)
      : secrets_(std::make_shared<const RootSecrets>(root)) {}

  // Use gives the secrets for the length of one call. kUnavailable, and says why, while
  // they are withheld. Check is how it would end.
  Result<Secrets> Use() const;
  Status Check() const;
  // CheckHeld is the same for what is open already: kUnavailable once they were wiped.
  Status CheckHeld() const;
  // Describe is for people: "Available", or since when not and why.
  std::string Describe() const;

  // Withhold lets nobody use them from now on; false if that was so for this reason.
  bool Withhold(const std::string& why, TimePoint now);
  // Wipe forgets what is withheld, once the calls under way have ended; false if there
  // is nothing to forget.
  bool Wipe();
  void Restore(Secrets secrets);

 private:
  struct Absence {
    TimePoint since;
    std::string why;
  };
  Status CheckLocked() const;

  mutable std::mutex mutex_;
  Secrets secrets_;  // null once wiped
  std::optional<Absence> absence_;
};

}  // namespace keyfold
