// The chain: each record names the hash of the one before it, and digests sign where it
// has come to.
//
// Must not know: which files a log has. Free functions, thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kms/audit/AuditFiles.h"
#include "kms/audit/AuditLog.h"
#include "kms/base/Bytes.h"

namespace keyfold {

// ChainRules say what a chain is held against.
struct ChainRules {
  // Checks each record's MAC. Without it only hashes and signatures speak.
  const SecretBytes* key = nullptr;
  // DER. Digests must be signed with one of these; if empty, with the keys that they
  // name themselves, for which the MACs vouch.
  std::vector<Bytes> signers;
  // A record that must be in the chain.
  std::optional<AuditHead> at_least;
  // Files with records up to this one may be missing.
  AuditHead released;
  // The chain may begin anywhere: a copy of some of the files.
  bool begins_anywhere = false;
};

// ChainPart is the first `size` bytes of one file of the log.
struct ChainPart {
  std::shared_ptr<const AuditFile> file;
  uint64_t size = 0;
};

// VerifyChain walks all records. kCorrupt names the first (file, line, sequence) that
// was changed, is missing or moved.
Result<AuditSummary> VerifyChain(const ChainRules& rules,
                                 const std::vector<ChainPart>& parts);
// CheckChainEnd is kCorrupt unless the chain found ends where it was written to.
Status CheckChainEnd(const AuditHead& found, const AuditHead& written);

// VerifyCopy checks copies of a log's files, in any order, without any secret: the
// hashes, and the digests against `signers`. kSystem when a file cannot be read,
// kUsage when none of them holds a record, otherwise as VerifyChain.
Result<AuditSummary> VerifyCopy(const std::vector<std::string>& paths,
                                std::vector<Bytes> signers);

}  // namespace keyfold
