#include "kms/service/Rekey.h"

#include "kms/service/Catalog.h"
#include "kms/service/Invocation.h"

namespace keyfold {
namespace {

using nlohmann::json;

// Rekeying is one key store on its way from one root key to another.
struct Rekeying {
  const Catalog& former;
  const RootSecrets& from;
  const RootSecrets& to;

  Result<json> Version(const std::string& row) const;
  Result<json> AccessKey(const std::string& id) const;
  // Body is the row as it will be; null for one that ends.
  Result<json> Body(Table table, const Row& row) const;
  Result<json> Setting(const Row& row) const;
};

Result<json> Rekeying::Version(const std::string& row) const {
  const auto key = former.state()->FindKey(row.substr(0, row.find('/')));
  if (key)
    for (MaterialVersion version : key->versions) {
      if (VersionRowId(key->id, version.version) != row) continue;
      KF_ASSIGN_OR_RETURN(const CmkMaterial material,
                          OpenMaterial(from, *key, version));
      version.sealed = SealMaterial(to, *key, version.version, material);
      return ToJson(version);
    }
  return Status(Error::kCorrupt, "The key store has material of no key: " + row);
}

Result<json> Rekeying::AccessKey(const std::string& id) const {
  const auto state = former.state();
  const auto it = state->access_keys.find(id);
  if (it == state->access_keys.end())
    return Status(Error::kCorrupt, "The key store has an unreadable access key.");
  AccessKeyRecord key = it->second;
  KF_ASSIGN_OR_RETURN(const SecretBytes secret, OpenAccessKey(from, key));
  key.sealed_secret = SealAccessKey(to, key, secret);
  return ToJson(key);
}

// A setting that is not known here could be lost for good with the former root key.
Result<json> Rekeying::Setting(const Row& row) const {
  if (row.id.starts_with(kAccessKeyRow))
    return AccessKey(row.id.substr(kAccessKeyRow.size()));
  // Who has the former root key has this one too: another is made when it opens.
  if (row.id == kDigestKeyRow) return json();
  if (row.id.starts_with(kNoteRow)) return json::parse(row.body);
  for (const std::string_view plain : kPlainSettings)
    if (row.id == plain) return json::parse(row.body);
  return Status(Error::kInternal, "The root key's rotation does not know the row \"" +
                                      row.id + "\" of the settings.");
}

Result<json> Rekeying::Body(Table table, const Row& row) const {
  switch (table) {
    case Table::kKeyVersions:
      return Version(row.id);
    case Table::kImportParameters:
      return json();
    case Table::kSettings:
      return Setting(row);
    case Table::kKeys:
    case Table::kAliases:
    case Table::kGrants:
      return json::parse(row.body);
  }
  std::abort();
}

Status Rekey(std::unique_ptr<KeyStore> former, const RootKey& former_root,
             std::unique_ptr<KeyStore> fresh, const RootKey& root,
             ByteView metadata_key, const EncryptionContext& metadata_context) {
  const RootSecrets from(former_root);
  KF_ASSIGN_OR_RETURN(const auto catalog, Catalog::Load(std::move(former), from));
  const SecretBytes audit_key = catalog->AuditKey();
  const RootSecrets to(root);
  const Rekeying rekeying{*catalog, from, to};
  KF_RETURN_IF_ERROR(catalog->CopyTo(
      *fresh, to,
      [&rekeying](Table table, const Row& row) { return rekeying.Body(table, row); }));
  KF_ASSIGN_OR_RETURN(const auto copy, Catalog::Load(std::move(fresh), to));
  const auto header = ParseBlobHeader(metadata_key);
  const auto key = header ? copy->state()->FindKey(header->key_id) : nullptr;
  if (!key || !DecryptUnder(to, *key, metadata_key, metadata_context).ok() ||
      !ConstantTimeEqual(copy->AuditKey(), audit_key))
    return {Error::kCorrupt,
            "What was sealed anew does not open. Nothing was changed; check the "
            "machine's memory."};
  return OkStatus();
}

}  // namespace

Status RekeyKeyStore(std::unique_ptr<KeyStore> former, const RootKey& former_root,
                     std::unique_ptr<KeyStore> fresh, const RootKey& root,
                     ByteView metadata_key, const EncryptionContext& metadata_context) {
  try {
    return Rekey(std::move(former), former_root, std::move(fresh), root, metadata_key,
                 metadata_context);
  } catch (const std::exception&) {
    return {Error::kInternal, "The key store could not be sealed anew."};
  }
}

}  // namespace keyfold
