// AuditLog: append-only, hash-chained records of every KMS call and every file
// decision, in CloudTrail's shape, one JSON object a line.
//
// Owns: the chain, the file and its durability. Must not know: what is worth
// recording. Safe for concurrent use; appends are serialised.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "kms/audit/JsonText.h"
#include "kms/base/Clock.h"
#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// AuditHead names the last record: what a sealed copy of it proves was there.
struct AuditHead {
  uint64_t sequence = 0;  // 0: no record yet
  std::string hash;       // hex SHA-256 of the last line, 64 zeros at first
};

// AuditFilter selects records; empty members select all.
struct AuditFilter {
  std::string since;             // ISO 8601, inclusive, compared as UTC text
  std::string user;              // userIdentity.userName or .arn
  std::string key;               // key id or ARN among resources
  uint64_t after_sequence = 0;   // only records with a greater sequence
  uint64_t before_sequence = 0;  // 0: all; else only those with a smaller one
  size_t limit = 0;              // 0: no limit; else the last `limit` records
  size_t max_bytes = 0;          // 0: no limit; else the last ones of this size in all
};

// On a full disk some room is left for records of changes, so that a right can
// still be revoked when uses are refused already.
enum class AuditRoom { kOrdinary, kReserved };

class AuditLog {
 public:
  // Open opens or creates DIRECTORY/audit.log (0600) and finds its end. A torn
  // last line left by a crash is moved to audit.log.torn-N before the first Append,
  // never lost silently. `key` (32 bytes) authenticates each record: "mac" is
  // HMAC-SHA-256 over the line before it is added. kCorrupt if the last whole
  // record does not authenticate.
  static Result<std::unique_ptr<AuditLog>> Open(const std::string& directory,
                                                SecretBytes key, const Clock& clock);
  ~AuditLog();

  // Append completes `record` with eventVersion, eventID, eventTime, sequence,
  // previousHash and mac, which count whatever it says of them, and writes it with one
  // write(2). On failure nothing may be done that the record was to tell.
  Status Append(JsonText record, AuditRoom room);
  // The same for a tree of values. kInternal for what is no object.
  Status Append(const nlohmann::json& record, AuditRoom room);
  // Sync makes what was appended survive power loss.
  Status Sync();
  AuditHead head() const;

  // Read returns the records selected; `cut` is set when max_bytes left some out.
  Result<std::vector<nlohmann::json>> Read(const AuditFilter& filter,
                                           bool* cut = nullptr) const;

  // Verify walks the whole chain. kCorrupt names the first record (sequence
  // and line number) that was changed, is missing or moved; `at_least` is a
  // head that was sealed elsewhere and must still be in the log. The number of
  // records verified on success.
  Result<uint64_t> Verify(const std::optional<AuditHead>& at_least) const;

 private:
  AuditLog();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
