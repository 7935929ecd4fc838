#include "kms/audit/AuditChain.h"

#include <fcntl.h>

#include <algorithm>

#include "kms/audit/AuditDigest.h"
#include "kms/audit/AuditRecord.h"
#include "kms/audit/LineReader.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

const std::string& NoHash() {
  static const std::string kNone(2 * kSha256Size, '0');
  return kNone;
}

// Where a line stands.
struct Line {
  const std::string& file;
  uint64_t number;
};

std::string Place(uint64_t sequence, const Line& line) {
  return "Audit record " + std::to_string(sequence) + " (" + line.file + ", line " +
         std::to_string(line.number) + ")";
}

// ChainWalk judges one line after another.
class ChainWalk {
 public:
  explicit ChainWalk(const ChainRules& rules) : rules_(rules), hash_(NoHash()) {
    summary_.end.hash = NoHash();
  }

  uint64_t next() const { return sequence_ + 1; }
  const AuditSummary& summary() const { return summary_; }
  bool has_gap() const { return !gap_.empty(); }

  Status Take(std::string_view text, const Line& line) {
    const auto record =
        rules_.key ? ParseRecord(*rules_.key, text) : ParseUnchecked(text);
    if (!record) return CorruptLog(Place(next(), line) + " was changed.");
    if (record->sequence < next() && sequence_ > 0)
      return CorruptLog(Place(record->sequence, line) +
                        " was moved or repeated; record " + std::to_string(next()) +
                        " belongs there.");
    if (record->sequence != next() && !Skip(*record, line)) {
      gap_ = Place(next(), line);
      gap_sequence_ = next();
      return OkStatus();
    }
    if (!hash_.empty() && Member(record->value, "previousHash") != hash_)
      return CorruptLog(Place(next(), line) +
                        (rules_.key ? " was changed: it does not continue the record "
                                      "before it."
                                    : " does not continue the record before it: one of "
                                      "the two was changed."));
    KF_RETURN_IF_ERROR(TakeDigest(*record, line));
    sequence_ = record->sequence;
    hash_ = HashOfLine(text);
    if (summary_.records++ == 0) summary_.first_sequence = sequence_;
    summary_.end = {sequence_, hash_};
    for (const AuditHead* known :
         {rules_.at_least ? &*rules_.at_least : nullptr, &rules_.released})
      if (known && known->sequence == sequence_ && known->hash != hash_)
        return CorruptLog(Place(sequence_, line) +
                          " was changed: it is not the record that was sealed.");
    return OkStatus();
  }

  // TakeAfterGap looks for the record that did not stand in its place.
  bool TakeAfterGap(std::string_view text, const Line& line) {
    const auto record =
        rules_.key ? ParseRecord(*rules_.key, text) : ParseUnchecked(text);
    if (!record || record->sequence != gap_sequence_) return false;
    found_at_ = line.file + ", line " + std::to_string(line.number);
    return true;
  }
  Status GapStatus() const {
    if (!found_at_.empty())
      return CorruptLog(gap_ + " was moved to " + found_at_ + ".");
    return CorruptLog(gap_ + " is missing.");
  }

 private:
  // Skip passes over records that may be missing, at the beginning of a file.
  bool Skip(const ParsedRecord& record, const Line& line) {
    if (line.number != 1) return false;
    const uint64_t before = record.sequence - 1;
    const bool first = sequence_ == 0 && rules_.begins_anywhere;
    if (!first && before > rules_.released.sequence) return false;
    sequence_ = before;
    digest_ = {};
    // What came before is not known, unless it is just where the release ended.
    hash_ = before == rules_.released.sequence ? rules_.released.hash : "";
    return true;
  }

  Status TakeDigest(const ParsedRecord& record, const Line& line) {
    const auto found = DigestIn(record.value);
    if (!found.ok())
      return CorruptLog(Place(record.sequence, line) +
                        " was changed: " + found.status().message() + ".");
    if (!*found) return OkStatus();
    const SignedDigest& made = **found;
    const bool trusted = rules_.signers.empty() ||
                         std::find(rules_.signers.begin(), rules_.signers.end(),
                                   made.public_key) != rules_.signers.end();
    if (!trusted)
      return CorruptLog(Place(record.sequence, line) +
                        " carries a digest that another key signed than the public key "
                        "given. Compare the key with 'keyfold audit public-key'.");
    const AuditDigest& digest = made.digest;
    const bool continues =
        digest.last_sequence + 1 == record.sequence &&
        digest.last_hash == Member(record.value, "previousHash") &&
        digest.first_sequence == digest.previous_sequence + 1 &&
        (digest_.sequence == 0 || (digest.previous_sequence == digest_.sequence &&
                                   digest.previous_signature == digest_.signature));
    if (!continues)
      return CorruptLog(Place(record.sequence, line) +
                        " was changed: its digest is of other records.");
    digest_ = {record.sequence, ToBase64(made.signature)};
    ++summary_.digests;
    summary_.signed_to = digest.last_sequence;
    summary_.signed_at = digest.time;
    return OkStatus();
  }

  const ChainRules& rules_;
  uint64_t sequence_ = 0;
  std::string hash_;  // of record `sequence_`; empty when it is not known
  DigestHead digest_;
  AuditSummary summary_;
  std::string gap_, found_at_;
  uint64_t gap_sequence_ = 0;
};

Status Truncated(uint64_t next, uint64_t known) {
  return CorruptLog("Audit record " + std::to_string(next) +
                    " is missing: the log was truncated; " + std::to_string(known) +
                    " records were written.");
}

// WalkPart hands one file's lines to the walk; true when it need not go on.
Result<bool> WalkPart(ChainWalk& walk, const ChainPart& part) {
  LineReader lines(part.file->fd(), 0, part.size);
  Line at{part.file->name(), 0};
  for (;;) {
    auto next = lines.Next();
    ++at.number;
    if (!next.ok() && next.status().error() != Error::kCorrupt) return next.status();
    if (!next.ok()) {
      if (walk.has_gap()) return true;
      return CorruptLog(Place(walk.next(), at) + " was changed.");
    }
    if (!*next) return false;
    if (!walk.has_gap()) {
      KF_RETURN_IF_ERROR(walk.Take(**next, at));
    } else if (walk.TakeAfterGap(**next, at)) {
      return true;
    }
  }
}

}  // namespace

Result<AuditSummary> VerifyChain(const ChainRules& rules,
                                 const std::vector<ChainPart>& parts) {
  ChainWalk walk(rules);
  for (const ChainPart& part : parts) {
    KF_ASSIGN_OR_RETURN(const bool done, WalkPart(walk, part));
    if (done) break;
  }
  if (walk.has_gap()) return walk.GapStatus();
  AuditSummary summary = walk.summary();
  summary.files = parts.size();
  if (rules.at_least && summary.end.sequence < rules.at_least->sequence &&
      rules.at_least->sequence > rules.released.sequence)
    return Truncated(summary.end.sequence + 1, rules.at_least->sequence);
  return summary;
}

Status CheckChainEnd(const AuditHead& found, const AuditHead& written) {
  if (found.sequence < written.sequence)
    return Truncated(found.sequence + 1, written.sequence);
  if (found.sequence == written.sequence && found.hash == written.hash)
    return OkStatus();
  return CorruptLog("Audit record " + std::to_string(found.sequence) +
                    " was not written by this log.");
}

Result<AuditSummary> VerifyCopy(const std::vector<std::string>& paths,
                                std::vector<Bytes> signers) {
  std::vector<std::pair<uint64_t, ChainPart>> found;
  for (const std::string& path : paths) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return Status::FromErrno(errno, path);
    ChainPart part{std::make_shared<const AuditFile>(path, fd), 0};
    KF_ASSIGN_OR_RETURN(const uint64_t size, part.file->Size());
    // A copy made in use may end within a record.
    KF_ASSIGN_OR_RETURN(part.size, AfterLastNewline(fd, size));
    LineReader lines(fd, 0, part.size);
    const auto first = lines.Next();
    if (!first.ok() || !*first)
      return Status(Error::kUsage, path + " holds no audit records.");
    const auto record = ParseUnchecked(**first);
    if (!record)
      return CorruptLog("The first line of " + path + " is no audit record.");
    found.emplace_back(record->sequence, std::move(part));
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  ChainRules rules;
  rules.signers = std::move(signers);
  rules.begins_anywhere = true;
  std::vector<ChainPart> parts;
  for (auto& [sequence, part] : found) parts.push_back(std::move(part));
  return VerifyChain(rules, parts);
}

}  // namespace keyfold
