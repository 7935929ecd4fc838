// KeyStore: where the KMS keeps its rows, behind an interface so that SQLite
// can give way to another database.
//
// Owns: atomic, durable commits of opaque rows. Must not know: what a row
// means, cryptography (kms/service seals and verifies rows). Implementations
// are safe for concurrent use.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// Names on disk: never renumber or rename.
enum class Table {
  kKeys,
  kKeyVersions,
  kAliases,
  kGrants,
  kImportParameters,
  kSettings,
};
inline constexpr Table kAllTables[] = {
    Table::kKeys,   Table::kKeyVersions,      Table::kAliases,
    Table::kGrants, Table::kImportParameters, Table::kSettings};
std::string_view TableName(Table table);

struct Row {
  std::string id;    // primary key, at most 512 bytes
  std::string body;  // JSON
  Bytes mac;         // made and checked by kms/service
};

// Change puts `row`, or removes the row of that id when `remove` is set.
struct Change {
  Table table;
  Row row;
  bool remove = false;
};

// The formats of key stores (FORMAT.md, "Versions"). New ones are of kKeyStoreFormat,
// and `keyfold upgrade` makes older ones so. Those with rows that programs of before
// cannot read are of the newest.
inline constexpr int kOldestKeyStoreFormat = 1;
inline constexpr int kKeyStoreFormat = 2;
inline constexpr int kNewestKeyStoreFormat = 3;

class KeyStore {
 public:
  virtual ~KeyStore() = default;
  virtual int format() const = 0;
  // RaiseFormat makes it at least `format`, so that programs of before refuse the
  // store; on return that survives power loss.
  virtual Status RaiseFormat(int format) = 0;
  // ReadAll returns every row, ordered by id. kCorrupt for a damaged database.
  virtual Result<std::vector<Row>> ReadAll(Table table) = 0;
  // Commit applies all changes or none; on return they survive power loss.
  virtual Status Commit(const std::vector<Change>& changes) = 0;
};

// CreateSqliteKeyStore makes a new database of mode 0600 at `path`;
// kSystem/EEXIST if it exists. OpenSqliteKeyStore opens one: kSystem/ENOENT,
// kNotAStore, kNewerFormat, kCorrupt. Both use WAL-less FULL synchronous
// commits and an exclusive lock (kLocked when another process holds it).
Result<std::unique_ptr<KeyStore>> CreateSqliteKeyStore(const std::string& path);
Result<std::unique_ptr<KeyStore>> OpenSqliteKeyStore(const std::string& path);

}  // namespace keyfold
