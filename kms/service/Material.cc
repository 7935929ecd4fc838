#include "kms/service/Material.h"

namespace keyfold {
namespace {

// On disk or in ciphertext: never change.
constexpr uint8_t kBlobVersion = 1;
constexpr size_t kBlobIdSize = 16;
constexpr size_t kBlobNonceSize = 16;
constexpr size_t kBlobHeaderSize = 1 + kBlobIdSize + 4 + kBlobNonceSize;
constexpr std::string_view kMaterialLabel = "keyfold cmk v1";
constexpr std::string_view kImportLabel = "keyfold import v1";
constexpr std::string_view kAccessKeyLabel = "keyfold access key v1";
constexpr std::string_view kDigestKeyLabel = "keyfold audit digest key v1";
constexpr std::string_view kAuditKeyLabel = "keyfold audit key v1";
constexpr std::string_view kIdentityLabel = "keyfold material identity v1";
constexpr std::string_view kMaterialIdLabel = "keyfold key material id v1";
constexpr std::string_view kBlobLabel = "keyfold blob v1";

Status BadBlob() {
  return {Error::kInvalidCiphertext,
          "The ciphertext, its key or its encryption context does not match."};
}

Bytes MaterialAad(const KeyRecord& key, uint32_t version) {
  ByteWriter out;
  out.Prefixed(kMaterialLabel);
  out.Prefixed(key.id);
  out.Integer(version);
  out.Prefixed(OriginName(key.origin));
  // So that no material is ever used with another algorithm than its own.
  if (key.spec != KeySpec::kSymmetricDefault) out.Prefixed(TraitsOf(key.spec).name);
  return out.Take();
}

Bytes ImportAad(const ImportRecord& import) {
  ByteWriter out;
  out.Prefixed(kImportLabel);
  out.Prefixed(import.id);
  out.Prefixed(import.key_id);
  out.Prefixed(import.algorithm);
  return out.Take();
}

Bytes AccessKeyAad(const AccessKeyRecord& key) {
  ByteWriter out;
  out.Prefixed(kAccessKeyLabel);
  out.Prefixed(key.id);
  out.Prefixed(key.user);
  return out.Take();
}

Bytes DigestKeyAad(const DigestKeyRecord& record) {
  ByteWriter out;
  out.Prefixed(kDigestKeyLabel);
  out.Prefixed(ByteView(record.public_key));
  return out.Take();
}

Bytes AuditKeyAad(const std::string& store_id) {
  ByteWriter out;
  out.Prefixed(kAuditKeyLabel);
  out.Prefixed(store_id);
  return out.Take();
}

std::optional<Bytes> UuidBytes(const std::string& uuid) {
  std::string hex;
  for (char c : uuid)
    if (c != '-') hex += c;
  auto bytes = FromHex(hex);
  if (!bytes || bytes->size() != kBlobIdSize) return std::nullopt;
  return bytes;
}

// Everything before the ciphertext, then the context in the order of its keys.
Bytes BlobAad(ByteView header, const EncryptionContext& context) {
  ByteWriter out;
  out.Prefixed(kBlobLabel);
  out.Append(header);
  for (const auto& [name, value] : context) {
    out.Prefixed(name);
    out.Prefixed(value);
  }
  return out.Take();
}

// One key for each blob, so that the GCM nonce may be constant.
Aead BlobCipher(const CmkMaterial& material, ByteView nonce) {
  return Aead(Hkdf(material.bytes(), nonce, AsBytes(kBlobLabel)));
}
constexpr uint8_t kZeroNonce[kGcmNonceSize] = {};

}  // namespace

RootSecrets::RootSecrets(const RootKey& root)
    : material(Hkdf(root.bytes(), {}, AsBytes("keyfold root material v1"))),
      rows(Hkdf(root.bytes(), {}, AsBytes("keyfold root rows v1"))),
      audit(Hkdf(root.bytes(), {}, AsBytes("keyfold root audit v1"))),
      tokens(Hkdf(root.bytes(), {}, AsBytes("keyfold root tokens v1"))),
      sessions(Hkdf(root.bytes(), {}, AsBytes("keyfold root sessions v1"))),
      session_secrets(
          Hkdf(root.bytes(), {}, AsBytes("keyfold root session secrets v1"))),
      backup(Hkdf(root.bytes(), {}, AsBytes("keyfold root backup v1"))) {}

Bytes SealMaterial(const RootSecrets& secrets, const KeyRecord& key, uint32_t version,
                   const CmkMaterial& material) {
  return SealSecret(secrets.material, MaterialAad(key, version), material.bytes());
}

Result<CmkMaterial> OpenMaterial(const RootSecrets& secrets, const KeyRecord& key,
                                 const MaterialVersion& version) {
  auto opened =
      OpenSecret(secrets.material, MaterialAad(key, version.version), version.sealed);
  if (!opened.ok() || opened->size() != TraitsOf(key.spec).material_size)
    return Status(Error::kCorrupt, "The material of key " + key.id +
                                       " is damaged. Restore the key store from a "
                                       "backup.");
  return CmkMaterial(std::move(opened).value());
}

Bytes MaterialIdentity(const CmkMaterial& material) {
  return HkdfPublic(material.bytes(), {}, AsBytes(kIdentityLabel));
}

namespace {

ByteWriter BeginMaterialId(const KeyRecord& key) {
  ByteWriter out;
  out.Prefixed(kMaterialIdLabel);
  out.Prefixed(key.id);
  return out;
}

std::string EndMaterialId(const ByteWriter& out) {
  const Sha256Digest digest = Sha256(out.bytes());
  return ToHex({digest.data(), digest.size()});
}

}  // namespace

std::string MaterialTagOf(const KeyRecord& key, ByteView identity) {
  ByteWriter out = BeginMaterialId(key);
  out.Prefixed(identity);
  return EndMaterialId(out);
}

std::string MaterialTag(const KeyRecord& key, const ImportedMaterial& material) {
  return material.identity.empty() ? material.id
                                   : MaterialTagOf(key, material.identity);
}

std::string MaterialId(const KeyRecord& key, uint32_t version) {
  if (key.usage() != KeyUsage::kEncryptDecrypt) return {};
  // Pending material may give way to other material of the same number.
  if (const ImportedMaterial* imported = key.FindMaterial(version))
    return MaterialTag(key, *imported);
  ByteWriter out = BeginMaterialId(key);
  out.Integer(version);
  return EndMaterialId(out);
}

Bytes SealImportKey(const RootSecrets& secrets, const ImportRecord& import,
                    const RsaPrivateKey& key) {
  return SealSecret(secrets.material, ImportAad(import), key.ToPkcs8());
}

Result<RsaPrivateKey> OpenImportKey(const RootSecrets& secrets,
                                    const ImportRecord& import) {
  auto der = OpenSecret(secrets.material, ImportAad(import), import.sealed_private_key);
  if (!der.ok())
    return Status(Error::kCorrupt, "The wrapping key of an import is damaged.");
  return RsaPrivateKey::FromPkcs8(*der);
}

Bytes SealAccessKey(const RootSecrets& secrets, const AccessKeyRecord& key,
                    const SecretBytes& secret) {
  return SealSecret(secrets.material, AccessKeyAad(key), secret);
}

Result<SecretBytes> OpenAccessKey(const RootSecrets& secrets,
                                  const AccessKeyRecord& key) {
  auto secret = OpenSecret(secrets.material, AccessKeyAad(key), key.sealed_secret);
  if (!secret.ok())
    return Status(Error::kCorrupt, "The secret of access key " + key.id +
                                       " is damaged. Delete it and create another.");
  return secret;
}

Bytes SealDigestKey(const RootSecrets& secrets, const DigestKeyRecord& record,
                    const SigningKey& key) {
  return SealSecret(secrets.material, DigestKeyAad(record), key.Seed());
}

Result<SigningKey> OpenDigestKey(const RootSecrets& secrets,
                                 const DigestKeyRecord& record) {
  auto seed = OpenSecret(secrets.material, DigestKeyAad(record), record.sealed_seed);
  if (!seed.ok())
    return Status(Error::kCorrupt,
                  "The key that signs the audit log's digests is damaged. Restore the "
                  "key store from a backup.");
  return SigningKey::FromSeed(*seed);
}

Bytes SealAuditKey(const RootSecrets& secrets, const std::string& store_id,
                   const SecretBytes& key) {
  return SealSecret(secrets.material, AuditKeyAad(store_id), key);
}

Result<SecretBytes> OpenAuditKey(const RootSecrets& secrets,
                                 const std::string& store_id, ByteView sealed) {
  auto key = OpenSecret(secrets.material, AuditKeyAad(store_id), sealed);
  if (!key.ok() || key->size() != kKeySize)
    return Status(Error::kCorrupt,
                  "The key of the audit log is damaged. Restore the key store from a "
                  "backup.");
  return key;
}

std::optional<BlobHeader> ParseBlobHeader(ByteView blob) {
  ByteReader reader(blob);
  const auto version = reader.Integer<uint8_t>();
  const auto id = reader.Take(kBlobIdSize);
  const auto material = reader.Integer<uint32_t>();
  if (!version || *version != kBlobVersion || !id || !material ||
      blob.size() < kBlobOverhead)
    return std::nullopt;
  return BlobHeader{UuidText(*id), *material};
}

Bytes SealBlob(const CmkMaterial& material, const BlobHeader& header,
               const EncryptionContext& context, const SecretBytes& plain) {
  const auto id = UuidBytes(header.key_id);
  if (!id) std::abort();
  const Bytes nonce = RandomBytes(kBlobNonceSize);
  ByteWriter out;
  out.Integer(kBlobVersion);
  out.Append(ByteView(*id));
  out.Integer(header.version);
  out.Append(ByteView(nonce));
  const Bytes aad = BlobAad(out.bytes(), context);
  out.Append(SealSecretWith(BlobCipher(material, nonce), kZeroNonce, aad, plain));
  return out.Take();
}

Result<SecretBytes> OpenBlob(const CmkMaterial& material, ByteView blob,
                             const EncryptionContext& context) {
  if (!ParseBlobHeader(blob)) return BadBlob();
  const ByteView header = blob.first(kBlobHeaderSize);
  auto plain =
      OpenSecretWith(BlobCipher(material, header.last(kBlobNonceSize)), kZeroNonce,
                     BlobAad(header, context), blob.subspan(kBlobHeaderSize));
  if (!plain.ok()) return BadBlob();
  return plain;
}

}  // namespace keyfold
