// AuditLog: append-only, hash-chained records of every KMS call and every file
// decision, in CloudTrail's shape, one JSON object a line.
//
// Owns: the chain, its files and their durability. Must not know: what is worth
// recording, when a file is full. Safe for concurrent use; appends are serialised.
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

// DigestHead names the last digest in the log (AuditDigest.h).
struct DigestHead {
  uint64_t sequence = 0;  // of the record that carries it; 0: none yet
  std::string signature;  // base64
};

// AuditSummary is what a verification found.
struct AuditSummary {
  AuditHead end;
  uint64_t first_sequence = 0;
  uint64_t records = 0;
  size_t files = 0;
  size_t digests = 0;
  uint64_t signed_to = 0;  // the last record that a digest signs; 0: none
  std::string signed_at;   // when that was
};

// AuditRecords are what a look at the log found.
struct AuditRecords {
  std::vector<nlohmann::json> records;
  bool cut = false;    // max_bytes left older ones out
  std::string damage;  // names the first line that does not authenticate; empty: none
};

// AuditFilter selects records; empty members select all.
struct AuditFilter {
  std::string since;             // ISO 8601, inclusive, compared as UTC text
  std::string user;              // userIdentity.userName or .arn
  std::string key;               // key id or ARN among resources
  std::string event;             // eventName
  bool refused = false;          // only what has an errorCode
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
  // RecordMaker makes a record that tells of the log's end as it is just before it.
  using RecordMaker = std::function<Result<JsonText>(const AuditHead&)>;

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

  // AppendWith appends what `make` returns; it is called with the log locked.
  Status AppendWith(const RecordMaker& make, AuditRoom room);

  // Size of audit.log in bytes, and the first record in it.
  uint64_t size() const;
  uint64_t first_sequence() const;
  // Rotate appends the record that `make` returns, makes audit.log an archive, and goes
  // on in a new one. Killed at any point, it leaves a log that goes on. On failure the
  // log goes on as it was, and `*appended` tells whether with the record.
  Status Rotate(const RecordMaker& make, bool* appended);

  // Read returns the records selected, and those that authenticate beside others that
  // do not.
  Result<AuditRecords> Read(const AuditFilter& filter) const;
  // ArchiveEnd is the last record of an archive. kValidation when there is none of
  // that name, kCorrupt when it does not authenticate.
  Result<AuditHead> ArchiveEnd(const std::string& name) const;
  // Archives are the names of the files before audit.log, the oldest first.
  Result<std::vector<std::string>> Archives() const;
  // ReadAll is kCorrupt when any of them does not authenticate.
  Result<std::vector<nlohmann::json>> ReadAll(const AuditFilter& filter) const;

  // Verify walks the whole chain. kCorrupt names the first record (file, line,
  // sequence) that was changed, is missing or moved; `at_least` is a head that was
  // sealed elsewhere and must still be in the log. Archives with records up to
  // `released` may be missing.
  Result<AuditSummary> Verify(const std::optional<AuditHead>& at_least,
                              const AuditHead& released = {}) const;

 private:
  AuditLog();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
