// PartialCopy: names of what is not whole yet. An object of a copy gets its own name
// last; until then it has one of these, in the same folder, and is locked (flock(2)),
// so that what a copy left that was killed can be told from what another one makes.
//
// Free functions, thread-safe.
#pragma once

#include <cerrno>
#include <functional>
#include <string>

#include "fs/backend/Backend.h"

namespace keyfold {

std::string NewPartialName();
bool IsPartialName(const std::string& name);

// LockPartial holds it as long as the descriptor is open.
Status LockPartial(int fd);
// IsOfOtherSweep: another copy's sweep came between making one and locking it, so it
// may go better at once.
inline bool IsOfOtherSweep(int error) {
  return error == ENOENT || error == EWOULDBLOCK;
}
// GivePartialItsName renames it; kSystem/EEXIST when the name is taken, unless it may
// `replace` what has it.
Status GivePartialItsName(int folder, const std::string& partial,
                          const std::string& name, bool replace);
// SweepPartials removes from `folder` what nobody makes any more. `left` is called with
// what could not be removed.
Status SweepPartials(
    int folder, const std::function<void(const std::string&, const Status&)>& left);

}  // namespace keyfold
