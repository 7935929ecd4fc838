// Material: how key material is sealed under the root key, and how data is
// encrypted under key material. KMS.md gives the bytes.
//
// Owns: the derived root secrets, the sealed forms and the ciphertext blob. Must
// not know: states, policies. Thread-safe once constructed.
#pragma once

#include <optional>
#include <string>

#include "kms/crypto/Crypto.h"
#include "kms/service/DataKeys.h"
#include "kms/service/Records.h"

namespace keyfold {

// RootSecrets are the keys derived from the root key, one for each use.
struct RootSecrets {
  explicit RootSecrets(const RootKey& root);
  SecretBytes material;         // seals CMK material, import, access and digest keys
  SecretBytes rows;             // authenticates the key store's rows
  SecretBytes audit;            // authenticates audit records
  SecretBytes tokens;           // authenticates import tokens
  SecretBytes sessions;         // seals session tokens
  SecretBytes session_secrets;  // derives the secrets of sessions
  SecretBytes backup;           // seals backups of the key store
};

// SealMaterial binds the material to its key, version, origin and spec.
Bytes SealMaterial(const RootSecrets& secrets, const KeyRecord& key, uint32_t version,
                   const CmkMaterial& material);
Result<CmkMaterial> OpenMaterial(const RootSecrets& secrets, const KeyRecord& key,
                                 const MaterialVersion& version);
// MaterialIdentity is 32 bytes that are equal for equal material and tell
// nothing else of it.
Bytes MaterialIdentity(const CmkMaterial& material);
// MaterialId is AWS's KeyMaterialId of one version: 64 hexadecimal digits; empty for a
// key of HMACs, whose material has none.
std::string MaterialId(const KeyRecord& key, uint32_t version);
// MaterialTag is that of imported material, for keys of HMACs too: what records and
// rows know material by that is not there. MaterialTagOf is that of material of this
// identity.
std::string MaterialTag(const KeyRecord& key, const ImportedMaterial& material);
std::string MaterialTagOf(const KeyRecord& key, ByteView identity);

// The private key that unwraps an import, bound to its token and key.
Bytes SealImportKey(const RootSecrets& secrets, const ImportRecord& import,
                    const RsaPrivateKey& key);
Result<RsaPrivateKey> OpenImportKey(const RootSecrets& secrets,
                                    const ImportRecord& import);

// The secret access key, bound to its id and user.
Bytes SealAccessKey(const RootSecrets& secrets, const AccessKeyRecord& key,
                    const SecretBytes& secret);
Result<SecretBytes> OpenAccessKey(const RootSecrets& secrets,
                                  const AccessKeyRecord& key);

// The key that signs the audit log's digests, bound to its public key.
Bytes SealDigestKey(const RootSecrets& secrets, const DigestKeyRecord& record,
                    const SigningKey& key);
Result<SigningKey> OpenDigestKey(const RootSecrets& secrets,
                                 const DigestKeyRecord& record);

// The key of the audit log, which outlives the root key it was derived from.
Bytes SealAuditKey(const RootSecrets& secrets, const std::string& store_id,
                   const SecretBytes& key);
Result<SecretBytes> OpenAuditKey(const RootSecrets& secrets,
                                 const std::string& store_id, ByteView sealed);

// Ciphertext blob: 53 bytes longer than its plaintext.
inline constexpr size_t kBlobOverhead = 1 + 16 + 4 + 16 + kGcmTagSize;
struct BlobHeader {
  std::string key_id;
  uint32_t version = 0;
};
// ParseBlobHeader tells which key and version a blob names; nothing for bytes
// that are no blob. Unauthenticated.
std::optional<BlobHeader> ParseBlobHeader(ByteView blob);

Bytes SealBlob(const CmkMaterial& material, const BlobHeader& header,
               const EncryptionContext& context, const SecretBytes& plain);
// kInvalidCiphertext when the key, the context or a byte differs.
Result<SecretBytes> OpenBlob(const CmkMaterial& material, ByteView blob,
                             const EncryptionContext& context);

}  // namespace keyfold
