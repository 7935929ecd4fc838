#include "kms/audit/RecordSelection.h"

#include "kms/audit/AuditRecord.h"
#include "kms/audit/LineReader.h"

namespace keyfold {

// The oldest damage is named, which is found last.
void RecordSelection::Damaged(const AuditFile& file, uint64_t line, bool from_start) {
  damage_ = (from_start ? "Line " + std::to_string(line) + " of " + file.name()
                        : "A line of " + file.name()) +
            " of the audit log does not authenticate. Run 'keyfold audit verify'.";
}

Status RecordSelection::AddFile(const AuditFile& file, uint64_t start, uint64_t end) {
  Kept older;
  size_t bytes = 0;
  bool damaged = false;
  const auto full = [&] {
    if (filter_.limit != 0 && older.size() + kept_.size() > filter_.limit) return true;
    return filter_.max_bytes != 0 && bytes + bytes_ > filter_.max_bytes &&
           older.size() + kept_.size() > 1;
  };
  LineReader reader(file.fd(), start, end);
  for (uint64_t number = 1;; ++number) {
    const auto line = reader.Next();
    if (!line.ok() && line.status().error() != Error::kCorrupt) return line.status();
    if (line.ok() && !*line) break;
    auto record = line.ok() ? ParseRecord(key_, **line) : std::nullopt;
    if (!record && !damaged) Damaged(file, number, start == 0);
    damaged |= !record;
    if (!line.ok()) break;  // nothing tells where the next one begins
    if (!record || !Selects(filter_, *record)) continue;
    older.emplace_back(std::move(record->value), (*line)->size());
    bytes += (*line)->size();
    while (!older.empty() && full()) {
      cut_ |= filter_.limit == 0 || older.size() + kept_.size() <= filter_.limit;
      bytes -= older.front().second;
      older.pop_front();
    }
  }
  for (; !older.empty(); older.pop_back()) kept_.push_front(std::move(older.back()));
  bytes_ += bytes;
  return OkStatus();
}

bool RecordSelection::complete() const {
  return cut_ || (filter_.limit != 0 && kept_.size() >= filter_.limit);
}

AuditRecords RecordSelection::Take() {
  AuditRecords out;
  for (auto& [record, size] : kept_) out.records.push_back(std::move(record));
  out.cut = cut_;
  out.damage = std::move(damage_);
  return out;
}

}  // namespace keyfold
