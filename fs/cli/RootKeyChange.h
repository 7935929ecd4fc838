// RootKeyChange: another root key for a store, or somebody else who seals it.
//
// Owns: which files take each other's place, and in which order, so that a change
// killed at any point leaves the store as it was or as it will be. Must not know: what
// is sealed, how. Not synchronised; takes the store's lock.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fs/cli/StoreConfig.h"
#include "kms/rootkey/RootKeyProvider.h"

namespace keyfold {

struct RootKeyRequest {
  std::string store;
  std::string root_key;  // where the present secret is; empty: as configured
  std::string to;        // spec of who will seal it; empty: who does now
  // Called behind each step, for tests that stop there.
  std::function<void()> after_step = [] {};
};

// RotateRootKey makes a new root key and seals all anew that hung on the former one.
// kAccessDenied for who is neither the account's root user nor may otherwise; kLocked
// when the store is mounted. On failure the store opens with the former root key.
Status RotateRootKey(const RootKeyRequest& request, const PassphrasePrompt& prompt);
// ChangeRootKeyProvider seals the same root key by `to`.
// FormerKeyStores are the files in the store that what sealed it formerly may open: key
// stores and configurations of before a restore or an upgrade.
std::vector<std::string> FormerKeyStores(const std::string& store);
Status ChangeRootKeyProvider(const RootKeyRequest& request,
                             const PassphrasePrompt& prompt);

// FinishRotation puts the key store in place that the configuration belongs to, if a
// rotation was cut off before it could. The store's lock is held.
Status FinishRotation(const std::string& store, const StoreConfig& config);

}  // namespace keyfold
