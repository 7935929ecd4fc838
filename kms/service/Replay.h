// Replay: what the audit log tells of changes after a backup was made, brought to
// bear on the key store that comes from it.
//
// Owns: which changes can be made again from their records alone. Must not know:
// files, the log's chain. Free functions, thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kms/audit/AuditLog.h"
#include "kms/service/Kms.h"
#include "kms/service/State.h"

namespace keyfold {

// Replayed tells people what came of each change, one line each.
struct Replayed {
  std::vector<std::string> done;  // made again
  std::vector<std::string> open;  // could not be: somebody has to look
};

// ReleasedIn is up to where a record lets archives of the log be missing.
std::optional<AuditHead> ReleasedIn(const nlohmann::json& record);

// LastCommit is the highest commit that `records` tell of; `otherwise` if of none.
uint64_t LastCommit(const std::vector<nlohmann::json>& records, uint64_t otherwise);

// ReplayChanges makes again, in `transaction`, what took something away: keys and
// material destroyed, keys disabled or scheduled for deletion, grants revoked, access
// keys disabled or deleted, and policies where the record holds their text. A key whose
// policy changed to a text too long for a record is disabled. Changes that gave
// something are listed: key material made since is in no record. `records` are in the
// order of the log.
//
// No number of a version is ever given to other material than had it first, as
// ciphertexts name versions. Material made since keeps its number, and is lost; so does
// material imported since, of which the records tell the id: it takes its place again
// when it is imported again. Rotations to imported material that the backup holds are
// made again, and its bytes count as there wherever the log says that they were.
// Records of before they told numbers are read by how keys give them.
Replayed ReplayChanges(const std::vector<nlohmann::json>& records,
                       const Account& account, Transaction& transaction);

}  // namespace keyfold
