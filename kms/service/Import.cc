// Import of key material.
//
// The token is 16 random bytes and a MAC over them and the key's id; the record of
// its wrapping key is deleted when the token has done its work.
#include <algorithm>
#include <chrono>

#include "kms/service/Operations.h"
#include "kms/service/Recorder.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr auto kValidity = std::chrono::hours(24);
constexpr size_t kTokenIdSize = 16;
constexpr char kNewMaterial[] = "NEW_KEY_MATERIAL";
constexpr char kExistingMaterial[] = "EXISTING_KEY_MATERIAL";

struct Algorithm {
  std::string_view name;
  bool aes_wrap;
  RsaPrivateKey::Padding padding;
};
constexpr Algorithm kAlgorithms[] = {
    {"RSAES_OAEP_SHA_1", false, RsaPrivateKey::Padding::kOaepSha1},
    {"RSAES_OAEP_SHA_256", false, RsaPrivateKey::Padding::kOaepSha256},
    {"RSA_AES_KEY_WRAP_SHA_1", true, RsaPrivateKey::Padding::kOaepSha1},
    {"RSA_AES_KEY_WRAP_SHA_256", true, RsaPrivateKey::Padding::kOaepSha256},
};

const Algorithm* FindAlgorithm(const std::string& name) {
  for (const Algorithm& algorithm : kAlgorithms)
    if (algorithm.name == name) return &algorithm;
  return nullptr;
}

Bytes TokenMac(const RootSecrets& secrets, ByteView id, const std::string& key_id) {
  ByteWriter out;
  out.Prefixed(std::string_view("keyfold import token v1"));
  out.Prefixed(id);
  out.Prefixed(key_id);
  const Sha256Digest mac = HmacSha256(secrets.tokens, out.bytes());
  return {mac.begin(), mac.end()};
}

Status InvalidToken() {
  return {
      Error::kInvalidImportToken,
      "The import token is not one of this key, or was used. Get new parameters with "
      "GetParametersForImport."};
}

// FindImport authenticates the token and finds its record.
Result<ImportRecord> FindImport(const Invocation& call, const RootSecrets& secrets) {
  const Bytes token = call.parameters.Blob("ImportToken");
  if (token.size() != kTokenIdSize + kSha256Size) return InvalidToken();
  const ByteView id = ByteView(token).first(kTokenIdSize);
  if (!ConstantTimeEqual(TokenMac(secrets, id, call.key->id),
                         ByteView(token).last(kSha256Size)))
    return InvalidToken();
  const auto it = call.state->imports.find(ToHex(id));
  if (it == call.state->imports.end() || it->second.key_id != call.key->id)
    return InvalidToken();
  if (it->second.expires <= call.now)
    return Status(Error::kExpiredImportToken,
                  "The import token has expired. Get new parameters with "
                  "GetParametersForImport.");
  return it->second;
}

Result<CmkMaterial> Unwrap(const Invocation& call, const RootSecrets& secrets,
                           const ImportRecord& import) {
  const Algorithm* algorithm = FindAlgorithm(import.algorithm);
  if (algorithm == nullptr) return InvalidToken();
  KF_ASSIGN_OR_RETURN(const RsaPrivateKey key, OpenImportKey(secrets, import));
  const Bytes wrapped = call.parameters.Blob("EncryptedKeyMaterial");
  const size_t size = TraitsOf(call.key->spec).material_size;
  auto material = algorithm->aes_wrap ? key.UnwrapRsaAes(wrapped, algorithm->padding)
                                      : key.Unwrap(wrapped, algorithm->padding);
  if (!material.ok() || material->size() != size)
    return Status(
        Error::kInvalidCiphertext,
        "The encrypted key material was not wrapped with this token's public key "
        "and algorithm, or is not " +
            std::to_string(size) + " bytes long.");
  return CmkMaterial(std::move(material).value());
}

Result<std::optional<TimePoint>> Expiry(const Invocation& call) {
  const Parameters& p = call.parameters;
  const std::string model = p.String("ExpirationModel", "KEY_MATERIAL_EXPIRES");
  const auto valid_to = p.Timestamp("ValidTo");
  const bool expires = model == "KEY_MATERIAL_EXPIRES";
  if (expires != valid_to.has_value())
    return Status(Error::kValidation,
                  expires ? "A validTo date must be set if the ExpirationModel is "
                            "KEY_MATERIAL_EXPIRES."
                          : "A validTo date must not be set if the ExpirationModel is "
                            "KEY_MATERIAL_DOES_NOT_EXPIRE.");
  if (valid_to &&
      (*valid_to <= call.now || *valid_to > call.now + std::chrono::days(365)))
    return Status(Error::kValidation,
                  "The validTo date must be in the future, at most 365 days from now.");
  return valid_to;
}

// CheckMaterialOptions refuses what only keys with several materials may be given.
Status CheckMaterialOptions(const Invocation& call) {
  const Parameters& p = call.parameters;
  if (call.key->usage() != KeyUsage::kEncryptDecrypt)
    for (const char* option : {"ImportType", "KeyMaterialDescription", "KeyMaterialId"})
      if (p.Has(option))
        return {Error::kUnsupportedOperation,
                std::string(option) + " is for symmetric encryption keys."};
  if (p.Has("KeyMaterialId") && p.String("ImportType") == kNewMaterial)
    return {Error::kValidation,
            "A KeyMaterialId must not be given with ImportType NEW_KEY_MATERIAL."};
  return OkStatus();
}

const ImportedMaterial* FindMaterialId(const KeyRecord& key, const std::string& id) {
  for (const ImportedMaterial& material : key.materials)
    if (MaterialId(key, material.version) == id) return &material;
  return nullptr;
}

// AddMaterial binds the key to its first material, or puts other material beside it
// that waits for RotateKeyOnDemand.
Result<uint32_t> AddMaterial(KeyRecord& key, Bytes identity, TimePoint now) {
  const ImportedMaterial* pending = key.FindPending();
  if (pending != nullptr && !pending->Expired(now))
    return Status(Error::kInvalidState,
                  "Other key material is pending rotation already. Rotate the key, or "
                  "delete that material.");
  ImportedMaterial material;
  material.identity = std::move(identity);
  return key.AddMaterial(std::move(material), now);
}

// IsSame tells whether material of this identity is `one`, of which the id alone may be
// known.
bool IsSame(const KeyRecord& key, const ImportedMaterial& one, const Bytes& identity) {
  return one.identity.empty() ? one.id == MaterialTagOf(key, identity)
                              : ConstantTimeEqual(one.identity, identity);
}

// VersionOf is the version that material of this identity is, or becomes, in the key.
Result<uint32_t> VersionOf(const Invocation& call, KeyRecord& key, Bytes identity) {
  const Parameters& p = call.parameters;
  const bool adds =
      p.String("ImportType", key.materials.empty() && !p.Has("KeyMaterialId")
                                 ? kNewMaterial
                                 : kExistingMaterial) == kNewMaterial;
  const auto same = std::find_if(
      key.materials.begin(), key.materials.end(),
      [&](const ImportedMaterial& one) { return IsSame(key, one, identity); });
  const bool known = same != key.materials.end();
  if (adds && !known) return AddMaterial(key, std::move(identity), call.now);
  if (adds)
    return Status(Error::kIncorrectKeyMaterial,
                  "The key has this key material already. Import it again with "
                  "ImportType EXISTING_KEY_MATERIAL.");
  if (!known || (p.Has("KeyMaterialId") &&
                 p.String("KeyMaterialId") != MaterialId(key, same->version)))
    return Status(Error::kIncorrectKeyMaterial,
                  "This is not the key material that was first imported into the key, "
                  "or that the KeyMaterialId names. Only the same can be imported "
                  "again; other material takes ImportType NEW_KEY_MATERIAL.");
  same->identity = std::move(identity);
  same->id.clear();
  return same->version;
}

// EnabledByImport tells whether an import enables the key, as it does with AWS. A key
// that a restore took material or the sure knowledge of its policy from stays as it is.
bool EnabledByImport(const KeyRecord& key, TimePoint now) {
  return !key.HasMaterial(now) && !key.held &&
         std::none_of(key.materials.begin(), key.materials.end(),
                      [](const auto& one) { return one.lost; });
}

// NoteImport lets the record tell what the log alone could not: a restore goes by it.
void NoteImport(Invocation& call, const KeyRecord& key, uint32_t version) {
  const ImportedMaterial* before = call.key->FindMaterial(version);
  call.event_data[kKeyMaterialVersion] = version;
  // The answer is AWS's, which has no id for keys of HMACs.
  if (key.usage() != KeyUsage::kEncryptDecrypt)
    call.event_data["keyMaterialId"] = MaterialTag(key, *key.FindMaterial(version));
  if (!key.FindMaterial(version)->pending() && (before == nullptr || before->pending()))
    call.event_data[kCurrentAtOnce] = true;
  if (key.enabled && !call.key->enabled) call.event_data[kKeyEnabled] = true;
}

json AnswerOn(const Invocation& call, const KeyRecord& key, uint32_t version) {
  json answer = {{"KeyId", KeyArn(call.account, key.id)}};
  if (key.FindMaterial(version) == nullptr) return answer;
  if (std::string id = MaterialId(key, version); !id.empty())
    answer["KeyMaterialId"] = std::move(id);
  return answer;
}

// MaterialInUse is the version that encrypts, or would if a restore had not lost it:
// what is deleted when none is named. 0 if there is none.
uint32_t MaterialInUse(const KeyRecord& key) {
  uint32_t newest = 0;
  for (const ImportedMaterial& material : key.materials)
    if (!material.pending()) newest = material.version;
  const uint32_t current = key.CurrentVersion();
  return current != 0 ? current : newest;
}

}  // namespace

Status MakeImportKey(Invocation& call) {
  const std::string spec = call.parameters.String("WrappingKeySpec");
  const std::string algorithm = call.parameters.String("WrappingAlgorithm");
  if (spec == "SM2" || FindAlgorithm(algorithm) == nullptr)
    return {Error::kUnsupportedOperation,
            algorithm + " with " + spec + " is not supported."};
  const unsigned bits = spec == "RSA_2048" ? 2048 : spec == "RSA_3072" ? 3072 : 4096;
  KF_ASSIGN_OR_RETURN(call.import_key, RsaPrivateKey::Generate(bits));
  return OkStatus();
}

Answer GetParametersForImport(Invocation& call) {
  size_t pending = 0;
  for (const auto& [id, import] : call.state->imports) {
    if (import.expires <= call.now)
      call.Change().RemoveImport(id);
    else if (import.key_id == call.key->id)
      ++pending;
  }
  if (pending >= call.quotas.import_tokens)
    return Status(Error::kLimitExceeded,
                  std::to_string(pending) +
                      " import tokens of this key are unused. Wait until they expire.");
  const Bytes id = RandomBytes(kTokenIdSize);
  ImportRecord import{ToHex(id),
                      call.key->id,
                      call.parameters.String("WrappingAlgorithm"),
                      call.now + kValidity,
                      {}};
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  import.sealed_private_key = SealImportKey(*secrets, import, *call.import_key);
  Bytes token = id;
  const Bytes mac = TokenMac(*secrets, id, call.key->id);
  token.insert(token.end(), mac.begin(), mac.end());
  json answer = {{"KeyId", KeyArn(call.account, call.key->id)},
                 {"ImportToken", ToBase64(token)},
                 {"PublicKey", ToBase64(call.import_key->PublicKeyDer())},
                 {"ParametersValidTo", WireTime(import.expires)}};
  call.Change().PutImport(std::move(import));
  return answer;
}

Answer ImportKeyMaterial(Invocation& call) {
  KF_ASSIGN_OR_RETURN(const auto valid_to, Expiry(call));
  KF_RETURN_IF_ERROR(CheckMaterialOptions(call));
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  KF_ASSIGN_OR_RETURN(const ImportRecord import, FindImport(call, *secrets));
  KF_ASSIGN_OR_RETURN(const CmkMaterial material, Unwrap(call, *secrets, import));
  KeyRecord key = *call.key;
  KF_ASSIGN_OR_RETURN(const uint32_t version,
                      VersionOf(call, key, MaterialIdentity(material)));
  if (EnabledByImport(*call.key, call.now)) key.enabled = true;
  for (ImportedMaterial& one : key.materials) {
    if (one.version != version) continue;
    one.lost = false;
    one.valid_to = valid_to;
    one.description = call.parameters.String("KeyMaterialDescription", one.description);
  }
  key.PutVersion(
      {version, call.now, SealMaterial(*secrets, key, version, material), ""});
  NoteImport(call, key, version);
  json answer = AnswerOn(call, key, version);
  call.Change().PutKey(std::move(key));
  call.Change().RemoveImport(import.id);
  return answer;
}

Answer DeleteImportedKeyMaterial(Invocation& call) {
  KeyRecord key = *call.key;
  uint32_t version = MaterialInUse(key);
  if (call.parameters.Has("KeyMaterialId")) {
    const auto named = FindMaterialId(key, call.parameters.String("KeyMaterialId"));
    if (named == nullptr)
      return Status(Error::kNotFound, "The key has no key material of this id.");
    version = named->version;
  }
  json answer = AnswerOn(call, key, version);
  if (version == 0) return answer;
  key.DropMaterial(version);
  call.Change().PutKey(std::move(key));
  return answer;
}

}  // namespace keyfold
