// AuditDigest: a signed statement of all records up to the one that carries it.
//
// A digest stands in a record of the log, as additionalEventData.digest. It is signed
// with a key of the KMS, so that whoever has the public key can check a copy of the log
// without any secret. KMS.md gives the bytes that are signed. Must not know: where the
// key is kept, when a digest is due. Plain values and free functions, thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "kms/base/Status.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {

struct AuditDigest {
  std::string store_id;
  uint64_t first_sequence = 0;     // behind the digest before, which is signed too
  uint64_t last_sequence = 0;      // the record before the one that carries this
  std::string last_hash;           // and its hash: what that record calls previousHash
  std::string time;                // "2026-01-31T12:00:00Z"
  uint64_t previous_sequence = 0;  // of the record with the digest before; 0: none
  std::string previous_signature;  // base64; empty: none
};

struct SignedDigest {
  AuditDigest digest;
  Bytes public_key;  // DER; whether to trust it is for others to say
  Bytes signature;
};

// SignDigest is the value of the record's member "digest".
nlohmann::json SignDigest(const AuditDigest& digest, const SigningKey& key);
// DigestIn is the digest a record carries: nothing where there is none; kCorrupt where
// it is not one, or where its signature is not of the public key it names.
Result<std::optional<SignedDigest>> DigestIn(const nlohmann::json& record);

// A public key as PEM, as the `openssl` program reads and writes it.
std::string PublicKeyPem(ByteView der);
// ParsePublicKeys reads one or several; empty when `pem` holds anything else.
std::vector<Bytes> ParsePublicKeys(std::string_view pem);

}  // namespace keyfold
