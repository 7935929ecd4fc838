// Backup: the rows of a key store in one sealed file.
//
// Owns: the file's bytes, which KMS.md gives. Must not know: where the file lies,
// what a row means, who may. Free functions, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"
#include "kms/store/KeyStore.h"

namespace keyfold {

// BackupDescription is what must be known before the root key is open.
struct BackupDescription {
  std::string store_id, created;  // UUID; "2026-01-31T12:00:00Z"
  uint64_t sequence = 0;          // the commit whose rows these are
  std::string configuration;      // the text of keyfold.json
  // The second holds rows that programs which know the first only cannot read.
  uint16_t format = 1;

  bool operator==(const BackupDescription&) const = default;
};

// SealBackup makes the file: the description in plain, then `rows` sealed under `key`
// (32 bytes). All is authenticated by `key`.
Bytes SealBackup(const SecretBytes& key, const BackupDescription& description,
                 const std::vector<Change>& rows);

// DescribeBackup returns the description. kNotAStore for bytes that are no backup,
// kNewerFormat, kCorrupt for a file that was cut or damaged. Who made it is known
// only once OpenBackup succeeds.
Result<BackupDescription> DescribeBackup(ByteView file);

// OpenBackup returns the rows, ready to be committed. As DescribeBackup, and
// kWrongCredential when `key` did not seal the file.
Result<std::vector<Change>> OpenBackup(const SecretBytes& key, ByteView file);

}  // namespace keyfold
