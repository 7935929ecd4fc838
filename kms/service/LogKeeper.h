// LogKeeper: when the audit log is signed, and when a file of it is full.
//
// Owns: the signing key while the KMS is open, and the last digest. Must not know: who
// may ask for it. Not synchronised: the service's write lock is held.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "kms/audit/AuditLog.h"
#include "kms/service/Kms.h"
#include "kms/service/Material.h"

namespace keyfold {

// MakeDigestKey is a new key that signs digests.
DigestKeyRecord MakeDigestKey(const RootSecrets& secrets, TimePoint now);
// LastDigest is the last one that `records` carry; `otherwise` if they carry none.
DigestHead LastDigest(const std::vector<nlohmann::json>& records, DigestHead otherwise);

class LogKeeper {
 public:
  // `own_record` makes a record of Keyfold's own, of that event.
  LogKeeper(AuditLog& log, const Account& account, const Clock& clock,
            std::function<nlohmann::json(std::string_view event)> own_record)
      : log_(log),
        account_(account),
        clock_(clock),
        own_record_(std::move(own_record)) {}
  // Begin is called once; `last` is the last digest in the log. kCorrupt for a key that
  // does not open.
  Status Begin(const RootSecrets& secrets, const DigestKeyRecord& key, DigestHead last);

  const DigestHead& last() const { return last_; }
  // Whether there are records that no digest signs.
  bool IsUnsigned() const { return log_.head().sequence > last_.sequence; }
  // Whether an hour is over since the first of them.
  bool IsDigestDue();
  // AppendSigned gives `record` a digest and appends it.
  Status AppendSigned(nlohmann::json record);

  // How large, in bytes, audit.log may become before it is archived; 0: any size.
  void set_limit(uint64_t bytes) { limit_ = bytes; }
  bool IsRotationDue() const;
  // Rotate appends a record with a digest, archives audit.log, and goes on in a new
  // one.
  Status Rotate();

 private:
  AuditLog::RecordMaker Signed(nlohmann::json& record, DigestHead* made) const;
  void Accept(DigestHead made);
  std::chrono::sys_time<std::chrono::hours> Hour() const;

  AuditLog& log_;
  const Account& account_;
  const Clock& clock_;
  const std::function<nlohmann::json(std::string_view event)> own_record_;
  std::optional<SigningKey> key_;
  DigestHead last_;
  std::chrono::sys_time<std::chrono::hours> hour_;  // of the records not signed yet
  uint64_t limit_ = 0;
  std::chrono::steady_clock::time_point rotation_failed_;
};

}  // namespace keyfold
