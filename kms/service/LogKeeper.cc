#include "kms/service/LogKeeper.h"

#include "kms/audit/AuditDigest.h"
#include "kms/audit/AuditFiles.h"
#include "kms/audit/AuditRecord.h"

namespace keyfold {
namespace {

using nlohmann::json;

// A rotation that failed is not tried again, and recorded again, every second.
constexpr auto kRotationPause = std::chrono::minutes(1);

}  // namespace

DigestKeyRecord MakeDigestKey(const RootSecrets& secrets, TimePoint now) {
  const SigningKey key = SigningKey::Generate();
  DigestKeyRecord record{now, key.PublicKeyDer(), {}};
  record.sealed_seed = SealDigestKey(secrets, record, key);
  return record;
}

DigestHead LastDigest(const std::vector<json>& records, DigestHead otherwise) {
  for (const json& record : records)
    if (const auto digest = DigestIn(record); digest.ok() && *digest)
      otherwise = {record.value("sequence", uint64_t{0}),
                   ToBase64((*digest)->signature)};
  return otherwise;
}

Status LogKeeper::Begin(const RootSecrets& secrets, const DigestKeyRecord& key,
                        DigestHead last) {
  KF_ASSIGN_OR_RETURN(key_, OpenDigestKey(secrets, key));
  Accept(std::move(last));
  return OkStatus();
}

std::chrono::sys_time<std::chrono::hours> LogKeeper::Hour() const {
  return std::chrono::floor<std::chrono::hours>(clock_.Now());
}

bool LogKeeper::IsDigestDue() {
  if (!IsUnsigned()) hour_ = Hour();
  return Hour() != hour_;
}

AuditLog::RecordMaker LogKeeper::Signed(json& record, DigestHead* made) const {
  return [this, &record, made](const AuditHead& head) -> Result<JsonText> {
    if (!key_) return Status(Error::kInternal, "There is no key for digests yet.");
    const AuditDigest digest{account_.store_id, last_.sequence + 1,      head.sequence,
                             head.hash,         FormatUtc(clock_.Now()), last_.sequence,
                             last_.signature};
    json value = SignDigest(digest, *key_);
    *made = {head.sequence + 1, value["signature"].get<std::string>()};
    record["additionalEventData"]["digest"] = std::move(value);
    return TextOf(record);
  };
}

void LogKeeper::Accept(DigestHead made) {
  last_ = std::move(made);
  hour_ = Hour();
}

Status LogKeeper::AppendSigned(json record) {
  DigestHead made;
  KF_RETURN_IF_ERROR(log_.AppendWith(Signed(record, &made), AuditRoom::kReserved));
  Accept(std::move(made));
  return OkStatus();
}

bool LogKeeper::IsRotationDue() const {
  return limit_ != 0 && log_.size() >= limit_ &&
         std::chrono::steady_clock::now() - rotation_failed_ >= kRotationPause;
}

Status LogKeeper::Rotate() {
  json record = own_record_("RotateLog");
  record["requestParameters"] = {{"archive", ArchiveName(log_.first_sequence())},
                                 {"firstSequence", log_.first_sequence()},
                                 {"bytes", log_.size()}};
  DigestHead made;
  bool appended = false;
  const Status status = log_.Rotate(Signed(record, &made), &appended);
  // The record may be there though what it tells of failed.
  if (appended) Accept(std::move(made));
  if (!status.ok()) rotation_failed_ = std::chrono::steady_clock::now();
  return status;
}

}  // namespace keyfold
