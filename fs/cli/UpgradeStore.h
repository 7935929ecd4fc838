// UpgradeStore: a store of an older format becomes one of the newest.
//
// Owns: what an upgrade changes, and in which order, so that one killed at any point
// leaves a store that opens and can be upgraded again. Must not know: how the parts
// keep their format. Not synchronised; takes the store's lock.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kms/base/Status.h"
#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {

struct UpgradeRequest {
  std::string store;
  std::string root_key;  // where the secret is; empty: as configured
  bool dry_run = false;  // only look
  // Called behind each step, for tests that stop there.
  std::function<void()> after_step = [] {};
};

struct StoreUpgrade {
  int format = 0;                 // of keyfold.json, before
  int key_store_format = 0;       // of keys.db, before
  std::vector<std::string> kept;  // files that hold what was replaced
  // Needed tells whether anything had to be done.
  bool Needed() const;
};

// UpgradeStore is kNewerFormat for a store that a newer Keyfold made, kLocked when it
// is mounted, kAccessDenied for who may not, and kCorrupt when it does not open.
Result<StoreUpgrade> UpgradeStore(const UpgradeRequest& request,
                                  const PassphrasePrompt& prompt);

}  // namespace keyfold
