#include "kms/audit/AuditChain.h"

#include "kms/audit/AuditRecord.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

Status Corrupt(std::string message) { return {Error::kCorrupt, std::move(message)}; }

std::string Place(uint64_t sequence, uint64_t line) {
  return "record " + std::to_string(sequence) + " (line " + std::to_string(line) + ")";
}

// ChainWalk judges one line after another.
class ChainWalk {
 public:
  ChainWalk(const SecretBytes& key, const std::optional<AuditHead>& at_least)
      : key_(key), at_least_(at_least) {}

  AuditHead end() const { return {line_, hash_}; }

  Status Take(std::string_view line) {
    const uint64_t expected = ++line_;
    const auto record = ParseRecord(key_, line);
    if (!record) return Corrupt("Audit " + Place(expected, line_) + " was changed.");
    if (record->sequence < expected)
      return Corrupt("Audit " + Place(record->sequence, line_) +
                     " was moved or repeated; record " + std::to_string(expected) +
                     " belongs there.");
    if (record->sequence > expected) {
      gap_ = expected;
      return OkStatus();
    }
    if (Member(record->value, "previousHash") != hash_)
      return Corrupt("Audit " + Place(expected, line_) +
                     " was changed: it does not continue the record before it.");
    hash_ = HashOfLine(line);
    if (at_least_ && at_least_->sequence == expected && at_least_->hash != hash_)
      return Corrupt("Audit " + Place(expected, line_) +
                     " was changed: it is not the record that was sealed.");
    return OkStatus();
  }

  // TakeAfterGap looks for the record that did not stand in its place.
  bool TakeAfterGap(std::string_view line, uint64_t at_line) {
    const auto record = ParseRecord(key_, line);
    if (!record || record->sequence != *gap_) return false;
    found_at_ = at_line;
    return true;
  }
  bool has_gap() const { return gap_.has_value(); }
  Status GapStatus() const {
    std::string text = "Audit " + Place(*gap_, *gap_);
    if (found_at_)
      return Corrupt(text + " was moved to line " + std::to_string(*found_at_) + ".");
    return Corrupt(text + " is missing.");
  }

 private:
  const SecretBytes& key_;
  const std::optional<AuditHead>& at_least_;
  uint64_t line_ = 0;  // a good chain's line and sequence numbers are equal
  std::string hash_ = std::string(2 * kSha256Size, '0');
  std::optional<uint64_t> gap_, found_at_;
};

Status Truncated(uint64_t next, uint64_t known) {
  return Corrupt("Audit " + Place(next, next) + " is missing: the log was truncated; " +
                 std::to_string(known) + " records were written.");
}

}  // namespace

Result<AuditHead> VerifyChain(const SecretBytes& key, LineReader& lines,
                              const std::optional<AuditHead>& at_least) {
  ChainWalk walk(key, at_least);
  for (uint64_t line_number = 1;; ++line_number) {
    auto next = lines.Next();
    if (!next.ok() && next.status().error() != Error::kCorrupt) return next.status();
    if (walk.has_gap()) {
      if (!next.ok() || !*next || walk.TakeAfterGap(**next, line_number))
        return walk.GapStatus();
      continue;
    }
    if (!next.ok())
      return Corrupt("Audit " + Place(line_number, line_number) + " was changed.");
    if (!*next) break;
    KF_RETURN_IF_ERROR(walk.Take(**next));
  }
  if (at_least && walk.end().sequence < at_least->sequence)
    return Truncated(walk.end().sequence + 1, at_least->sequence);
  return walk.end();
}

Status CheckChainEnd(const AuditHead& found, const AuditHead& written) {
  if (found.sequence < written.sequence)
    return Truncated(found.sequence + 1, written.sequence);
  if (found.sequence == written.sequence && found.hash == written.hash)
    return OkStatus();
  return Corrupt("Audit " + Place(found.sequence, found.sequence) +
                 " was not written by this log.");
}

}  // namespace keyfold
