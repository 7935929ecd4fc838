// RecordSelection: the last records of several files that a filter selects.
//
// Owns: what was selected so far. Must not know: which files a log has. Not
// synchronised.
#pragma once

#include <deque>

#include "kms/audit/AuditFiles.h"
#include "kms/audit/AuditLog.h"

namespace keyfold {

class RecordSelection {
 public:
  RecordSelection(const SecretBytes& key, const AuditFilter& filter)
      : key_(key), filter_(filter) {}

  // AddFile selects from bytes `start` to `end` of a file whose records are older than
  // those of the files added before.
  Status AddFile(const AuditFile& file, uint64_t start, uint64_t end);
  // Whether older files have nothing to add.
  bool complete() const;
  AuditRecords Take();

 private:
  using Kept = std::deque<std::pair<nlohmann::json, size_t>>;  // with the line's size

  void Damaged(const AuditFile& file, uint64_t line, bool from_start);

  const SecretBytes& key_;
  const AuditFilter& filter_;
  Kept kept_;
  size_t bytes_ = 0;  // of kept_
  bool cut_ = false;
  std::string damage_;
};

}  // namespace keyfold
