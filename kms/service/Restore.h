// Restore: a key store from its backup, brought up to what the audit log tells.
//
// Owns: the order of checks, and the record. Must not know: which files the store is
// made of, how one takes another's place. Free functions; nobody else may use the
// store or the log meanwhile.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kms/service/Kms.h"
#include "kms/service/Replay.h"

namespace keyfold {

struct RestoreOptions {
  // Of the store: where it keeps its log. With `new_log`, an empty folder in which a
  // new one begins, while `audit_folder` is the old one, which must be beyond use.
  std::string audit_folder, new_log;
  // The key store that is to be replaced, if it opens.
  std::unique_ptr<KeyStore> former;
  // A wrapped data key that the restored keys must open: the store's metadata key.
  Bytes metadata_key;
  EncryptionContext metadata_context;
  Caller caller;            // who is on record for it
  bool check_only = false;  // nothing is recorded, and `store` is worth nothing
};

struct Restored {
  Account account;
  std::string created;           // when the backup was made
  uint64_t backup_sequence = 0;  // the commit it holds
  uint64_t sequence = 0;         // the commit that the restored store begins with
  size_t keys = 0;
  Replayed replayed;
};

// RestoreKeyStore fills the empty `store` and closes it, durable and ready to be put
// in place: the record is in the log then. kWrongCredential for another root key;
// kCorrupt when a row, the log or the metadata key is not what it must be; kUsage for
// `new_log` when the old log is whole. On failure the log says nothing.
Result<Restored> RestoreKeyStore(std::unique_ptr<KeyStore> store, const RootKey& root,
                                 ByteView backup, RestoreOptions options,
                                 const Clock& clock);

}  // namespace keyfold
