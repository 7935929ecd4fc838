// Finding: what a check of a store found, as plain values.
//
// Must not know: how it is shown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keyfold {

enum class FindingKind {
  // Of a file's bytes.
  kHeader,      // no slot is one, none authenticates, or the data key is another's
  kHeaderSlot,  // one of the two, the other is good
  kNewerFormat,
  kWrappedKey,  // the data key does not open
  kCutShort,
  kBlocks,
  kUnreadable,  // the disk gives an error
  kUnsyncedEnd,
  kKeyUnavailable,
  kNoRight,     // whoever checks may not open it
  kNotReached,  // it went from under the check, or something ran short
  // Of an object's names.
  kNames,  // the attribute is missing or none
  kMoved,  // bound elsewhere
  kSpareBinding,
  kFolder,  // the descriptor
  kName,    // does not decrypt in this folder
  kLongName,
  kForeign,
  kSymlink,
  kAttribute,
  kMountedInto,
  // What a killed daemon left.
  kHalfMade,
  kOrphanSidecar,
  // Of the store as a whole.
  kConfiguration,
  kKeyStore,
  kAuditLog,
};

enum class Gravity {
  kDamage,
  kLeftover,    // of no consequence, and may be tidied
  kNote,        // settles by itself
  kNotChecked,  // no verdict
};

enum class Remedy {
  kNone,
  kQuarantine,   // the whole object is moved aside
  kRestoreSlot,  // the good header slot is copied over the other
  kTrim,         // bindings to former names are taken away
};

struct FindingTraits {
  std::string_view name;  // stable, for programs
  Gravity gravity;
  Remedy remedy;
};
const FindingTraits& TraitsOf(FindingKind kind);

// Bytes of a file as its readers count them.
struct ByteRange {
  uint64_t begin = 0, end = 0;
};

struct Finding {
  FindingKind kind = FindingKind::kForeign;
  std::string path;     // on the mount; of what has no name there, its folder with "/"
  std::string backing;  // below the store
  std::optional<ByteRange> range;
  std::string why;
  // What became of it with repairing: empty when nothing was done, or why that failed.
  bool repaired = false;
  std::string action;
};

}  // namespace keyfold
