// RootKeyWatch: asks every few seconds whether the token or TPM behind the root key is
// there, and tells the KMS what follows from that.
//
// The device may take its time or hang: it is asked by a thread of its own, and when it
// does not answer it counts as gone. Once gone its root key is unsealed anew when it is
// back, since only that proves that it is the same.
//
// Owns: when the device counts as gone, and for how long what is open goes on. Must not
// know: which device, what hangs on the root key. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "kms/base/Clock.h"
#include "kms/rootkey/RootKeyProvider.h"
#include "kms/service/Kms.h"

namespace keyfold {

class RootKeyWatch {
 public:
  // Unseal gets the root key from the device, without asking anybody.
  using Unseal = std::function<Result<RootKey>()>;

  // `grace` is how long what is open goes on without the device.
  RootKeyWatch(std::unique_ptr<RootKeyDevice> device, Unseal unseal, Kms& kms,
               const Clock& clock, std::chrono::seconds grace);
  // The destructor waits two seconds for a device that hangs, not longer; then `unseal`
  // is kept until it returns.
  ~RootKeyWatch();

  // Start begins to ask every five seconds.
  void Start();
  // Probe asks once, and may wait for the device. It is gone when it is not there twice
  // in a row, as others may use it too. kUnavailable or kWrongCredential while it is
  // gone, or another is in its place.
  Status Probe();
  // Tick does what time brings, and never waits for the device. Called every second.
  void Tick();

 private:
  struct Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace keyfold
