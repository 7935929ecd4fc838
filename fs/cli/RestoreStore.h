// RestoreStore: a backup of the key store put in the place of what is there.
//
// Owns: which files take each other's place, and in which order, so that a restore
// killed at any point leaves the former key store or the new one. Must not know: what
// a backup holds. Not synchronised; takes the store's lock.
#pragma once

#include <string>

#include "kms/rootkey/RootKeyProvider.h"
#include "kms/service/Restore.h"

namespace keyfold {

struct RestoreRequest {
  std::string file, store;
  std::string root_key;  // where the root key's secret is; empty: as configured
  bool new_audit_log = false;
  bool check_only = false;
};

struct RestoredStore {
  Restored keys;
  std::string kept;  // the former key store's file; empty if there was none
};

// RestoreStore verifies all before it replaces anything. kUsage for another store's
// backup, or a folder that is no store; kLocked when it is mounted; otherwise
// RestoreKeyStore's errors. On failure the store is as it was.
Result<RestoredStore> RestoreStore(const RestoreRequest& request,
                                   const PassphrasePrompt& prompt);

}  // namespace keyfold
