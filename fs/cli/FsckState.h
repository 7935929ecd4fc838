// FsckState: how far a check came that was cut off, so that another can go on.
//
// It lies in STORE/fsck.state. Its SHA-256 is a note in the key store, so a state that
// was changed, made up or put back from earlier counts for nothing: it could hide
// damage. Not synchronised.
#pragma once

#include <optional>
#include <string>

#include "fs/vault/Checker.h"
#include "kms/base/Status.h"
#include "kms/service/DataKeys.h"

namespace keyfold {

// FsckCounts is what a check has looked at and found.
struct FsckCounts {
  uint64_t files = 0, folders = 0, links = 0, nodes = 0, bytes = 0;
  uint64_t damaged = 0;      // and left so
  uint64_t repaired = 0;     // damage and leftovers
  uint64_t leftovers = 0;    // and left so
  uint64_t notes = 0;        // what settles by itself
  uint64_t not_checked = 0;  // for want of their key
};

// Plus is `counts` and what was looked at besides.
FsckCounts Plus(FsckCounts counts, const CheckTally& tally);

struct FsckState {
  WalkReached reached;
  FsckCounts counts;
  bool contents = true;
};

// SaveFsckState replaces the one there is, but for one of over 64 MiB, which would not
// be read; on return it survives power loss.
Status SaveFsckState(const std::string& store, DataKeys& keys, const FsckState& state);
// LoadFsckState is empty when there is none that counts.
Result<std::optional<FsckState>> LoadFsckState(const std::string& store,
                                               DataKeys& keys);
// ClearFsckState lets none count.
Status ClearFsckState(const std::string& store, DataKeys& keys);

}  // namespace keyfold
