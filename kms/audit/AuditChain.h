// The chain: each record names the hash of the one before it.
//
// Must not know: where the lines come from. Free functions, thread-safe.
#pragma once

#include <optional>

#include "kms/audit/AuditLog.h"
#include "kms/audit/LineReader.h"

namespace keyfold {

// VerifyChain walks all lines from the log's beginning and returns the last
// record. kCorrupt names the first record (sequence and line number) that was
// changed, is missing or moved; `at_least` must be among them.
Result<AuditHead> VerifyChain(const SecretBytes& key, LineReader& lines,
                              const std::optional<AuditHead>& at_least);
// CheckChainEnd is kCorrupt unless the chain found ends where it was written to.
Status CheckChainEnd(const AuditHead& found, const AuditHead& written);

}  // namespace keyfold
