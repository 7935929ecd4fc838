#include "fs/vault/Checkpoints.h"

#include <time.h>

#include <algorithm>
#include <mutex>

namespace keyfold {
namespace {

// On disk: never change.
constexpr char kNote[] = "checkpoints";
constexpr uint8_t kNoteVersion = 1;
// A run that did not end costs one or two; what is forgotten counts as closed.
// A record of the note must hold them all.
constexpr size_t kMostTorn = 256;
// How many numbers are kept ahead, so that Next need not wait for the key store.
constexpr uint64_t kAhead = 2;
// No run gets there: numbers are counted from the time of day, or on.
constexpr uint64_t kLargest = UINT64_MAX / 2;

}  // namespace

Result<Checkpoints::Note> Checkpoints::Parse(ByteView bytes) {
  Note note;
  if (bytes.empty()) return note;
  const Status bad(Error::kCorrupt, "the store's note of checkpoints is damaged");
  ByteReader reader(bytes);
  const auto version = reader.Integer<uint8_t>();
  const auto first = reader.Integer<uint64_t>();
  const auto end = reader.Integer<uint64_t>();
  const auto count = reader.Integer<uint32_t>();
  if (!count || *version != kNoteVersion || *first == 0 || *end < *first ||
      *end - *first > kAhead || *end > kLargest || *count > kMostTorn)
    return bad;
  note.first = *first;
  note.end = *end;
  for (uint32_t i = 0; i < *count; ++i) {
    const auto number = reader.Integer<uint64_t>();
    if (!number || *number >= *first) return bad;
    note.torn.insert(*number);
  }
  if (reader.remaining() != 0) return bad;
  return note;
}

Status Checkpoints::Keep(Note note) {
  while (note.torn.size() > kMostTorn) note.torn.erase(note.torn.begin());
  ByteWriter writer;
  writer.Integer(kNoteVersion);
  writer.Integer(note.first);
  writer.Integer(note.end);
  writer.Integer(static_cast<uint32_t>(note.torn.size()));
  for (const uint64_t number : note.torn) writer.Integer(number);
  KF_RETURN_IF_ERROR(keys_.KeepNote(kNote, writer.bytes()));
  std::unique_lock lock(mutex_);
  note_ = std::move(note);
  return OkStatus();
}

// What the last run left open is torn.
Result<Checkpoints::Note> Checkpoints::ReadAfterRun(DataKeys& keys) {
  KF_ASSIGN_OR_RETURN(const Bytes kept, keys.ReadNote(kNote));
  KF_ASSIGN_OR_RETURN(Note note, Parse(kept));
  for (uint64_t number = note.first; number < note.end; ++number)
    note.torn.insert(number);
  return note;
}

Result<std::unique_ptr<Checkpoints>> Checkpoints::OpenToCheck(DataKeys& keys) {
  std::unique_ptr<Checkpoints> made(new Checkpoints(keys));
  KF_ASSIGN_OR_RETURN(made->note_, ReadAfterRun(keys));
  made->note_.first = made->note_.end;
  return made;
}

Result<std::unique_ptr<Checkpoints>> Checkpoints::Open(DataKeys& keys) {
  std::unique_ptr<Checkpoints> made(new Checkpoints(keys));
  KF_ASSIGN_OR_RETURN(Note note, ReadAfterRun(keys));
  // A key store restored from a backup must not give out numbers again.
  note.first = std::max(note.end, static_cast<uint64_t>(::time(nullptr)));
  made->current_ = note.first;
  note.end = note.first + kAhead;
  KF_RETURN_IF_ERROR(made->Keep(std::move(note)));
  return made;
}

Checkpoints::Writing::Writing(Checkpoints& of)
    : lock_(of.mutex_), number_(of.current_) {
  of.used_ = number_;  // others write the same meanwhile
}

bool Checkpoints::InUse() const {
  std::shared_lock lock(mutex_);
  return used_ >= note_.first;
}

Checkpoints::State Checkpoints::StateOf(uint64_t number) const {
  std::shared_lock lock(mutex_);
  if (number >= note_.first && number < note_.end)
    return number < current_ ? State::kClosing : State::kOpen;
  return note_.torn.contains(number) ? State::kTorn : State::kClosed;
}

void Checkpoints::Next() {
  std::unique_lock lock(mutex_);
  // One that could not be closed goes on.
  if (current_ + 1 < note_.end) ++current_;
}

Status Checkpoints::Close() {
  Note note = note_;
  note.first = current_;
  note.end = current_ + kAhead;
  return Keep(std::move(note));
}

Status Checkpoints::CloseAll() {
  Note note = note_;
  note.first = note.end = current_ + 1;
  return Keep(std::move(note));
}

}  // namespace keyfold
