// Encryption and data keys.
#include "kms/service/Cryptographic.h"

#include <cstring>

#include "kms/service/Limits.h"
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxContext = 8192;
constexpr char kSymmetricDefault[] = "SYMMETRIC_DEFAULT";

Status CheckAlgorithm(const Parameters& p, const char* name) {
  const std::string algorithm = p.String(name, kSymmetricDefault);
  if (algorithm == kSymmetricDefault) return OkStatus();
  return {Error::kInvalidKeyUsage, "Algorithm " + algorithm +
                                       " is incompatible with key spec "
                                       "SYMMETRIC_DEFAULT."};
}

Result<EncryptionContext> ContextOf(const Parameters& p, const char* name) {
  EncryptionContext context = p.Map(name);
  size_t size = 0;
  for (const auto& [key, value] : context) size += key.size() + value.size();
  if (size > kMaxContext)
    return Status(Error::kValidation, "1 validation error detected: '" +
                                          LowerCamel(name) +
                                          "' must have at most 8192 characters");
  if (const std::string twice = policy::TwiceButForCase(context); !twice.empty())
    return Status(Error::kValidation,
                  "1 validation error detected: '" + LowerCamel(name) +
                      "' must not have two names that differ only by case: " + twice);
  return context;
}

// The filesystem's own contexts are made by the filesystem alone: else whoever has
// a key could make a data key for somebody's file and put it into the store.
constexpr std::string_view kReservedContext = "keyfold:";

Status BadCiphertext() {
  return {Error::kInvalidCiphertext, "The ciphertext is not valid."};
}

// OpenForCaller decrypts the call's CiphertextBlob for `action`. `key_parameter`
// names the key the caller expects, if any.
Result<SecretBytes> OpenForCaller(Invocation& call, const char* key_parameter,
                                  const char* context_parameter,
                                  const std::string& action, KeyRef& key) {
  const Parameters& p = call.parameters;
  call.context_parameter = context_parameter;
  KF_ASSIGN_OR_RETURN(const EncryptionContext context, ContextOf(p, context_parameter));
  const Bytes blob = p.Blob("CiphertextBlob");
  const auto header = ParseBlobHeader(blob);
  if (!header) return BadCiphertext();
  if (p.Has(key_parameter)) {
    KF_ASSIGN_OR_RETURN(key, call.FindKey(p.String(key_parameter), action));
  } else {
    // A blob of a key that is not here looks like any bad blob.
    key = ResolveKey(*call.state, call.account, header->key_id, call.now);
    if (!key) return BadCiphertext();
    KF_RETURN_IF_ERROR(call.Authorize(action, *key));
  }
  KF_RETURN_IF_ERROR(call.RequireUse(*key, KeyUsage::kEncryptDecrypt));
  if (key->id != header->key_id)
    return Status(Error::kIncorrectKey,
                  "The key ID in the request does not identify a CMK that can perform "
                  "this operation.");
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  return DecryptUnder(*secrets, *key, blob, context);
}

// MaterialOfBlob is the id of the material that the call's CiphertextBlob, which was
// opened, is under.
std::string MaterialOfBlob(const Invocation& call, const KeyRecord& key) {
  const auto header = ParseBlobHeader(call.parameters.Blob("CiphertextBlob"));
  return header ? MaterialId(key, header->version) : std::string();
}

Result<int64_t> DataKeySize(const Parameters& p) {
  const bool sized = p.Has("NumberOfBytes"), named = p.Has("KeySpec");
  if (sized == named)
    return Status(Error::kValidation,
                  "Please specify either number of bytes or key spec.");
  if (named) return p.String("KeySpec") == "AES_256" ? 32 : 16;
  return *p.Integer("NumberOfBytes");
}

// OnSameKey tells whether the blob to be encrypted anew names the key it will be under.
bool OnSameKey(const Invocation& call) {
  const auto header = ParseBlobHeader(call.parameters.Blob("CiphertextBlob"));
  const KeyRef to = ResolveKey(*call.state, call.account,
                               call.parameters.String("DestinationKeyId"), call.now);
  return header && to && to->id == header->key_id;
}

Answer MakeDataKey(Invocation& call, bool reveal) {
  KF_RETURN_IF_ERROR(RefuseRecipient(call.parameters));
  KF_ASSIGN_OR_RETURN(const int64_t size, DataKeySize(call.parameters));
  KF_ASSIGN_OR_RETURN(const EncryptionContext context,
                      ContextToSeal(call.parameters, "EncryptionContext"));
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  KF_RETURN_IF_ERROR(call.DryRunDone());
  const SecretBytes key = RandomSecret(static_cast<size_t>(size));
  KF_ASSIGN_OR_RETURN(const Bytes blob,
                      EncryptUnder(*secrets, *call.key, context, key));
  json answer = {{"CiphertextBlob", ToBase64(blob)},
                 {"KeyId", KeyArn(call.account, call.key->id)},
                 {"KeyMaterialId", MaterialId(*call.key, call.key->CurrentVersion())}};
  if (reveal) answer["Plaintext"] = Reveal(key);
  return answer;
}

}  // namespace

Result<EncryptionContext> ContextToSeal(const Parameters& parameters,
                                        const char* name) {
  KF_ASSIGN_OR_RETURN(EncryptionContext context, ContextOf(parameters, name));
  for (const auto& [key, value] : context)
    if (key.starts_with(kReservedContext))
      return Status(Error::kValidation,
                    "1 validation error detected: '" + LowerCamel(name) +
                        "' must not have keys that begin with keyfold:, which are the "
                        "filesystem's");
  return context;
}

Status RefuseRecipient(const Parameters& parameters) {
  if (!parameters.Has("Recipient")) return OkStatus();
  return {Error::kUnsupportedOperation, "Recipient is not supported."};
}

std::string Reveal(const SecretBytes& secret) {
  Bytes bytes = RevealSecret(secret);
  std::string text = ToBase64(bytes);
  explicit_bzero(bytes.data(), bytes.size());
  return text;
}

Answer Encrypt(Invocation& call) {
  KF_RETURN_IF_ERROR(CheckAlgorithm(call.parameters, "EncryptionAlgorithm"));
  KF_ASSIGN_OR_RETURN(const EncryptionContext context,
                      ContextToSeal(call.parameters, "EncryptionContext"));
  Bytes plain = call.parameters.Blob("Plaintext");
  const SecretBytes secret = SecretFrom(plain);
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  KF_RETURN_IF_ERROR(call.DryRunDone());
  KF_ASSIGN_OR_RETURN(const Bytes blob,
                      EncryptUnder(*secrets, *call.key, context, secret));
  return json{{"CiphertextBlob", ToBase64(blob)},
              {"KeyId", KeyArn(call.account, call.key->id)},
              {"EncryptionAlgorithm", kSymmetricDefault}};
}

Answer Decrypt(Invocation& call) {
  KF_RETURN_IF_ERROR(RefuseRecipient(call.parameters));
  KF_RETURN_IF_ERROR(CheckAlgorithm(call.parameters, "EncryptionAlgorithm"));
  KeyRef key;
  KF_ASSIGN_OR_RETURN(
      const SecretBytes plain,
      OpenForCaller(call, "KeyId", "EncryptionContext", call.Action(), key));
  KF_RETURN_IF_ERROR(call.DryRunDone());
  call.used = {{"Decrypt", key->id}};
  return json{{"KeyId", KeyArn(call.account, key->id)},
              {"KeyMaterialId", MaterialOfBlob(call, *key)},
              {"Plaintext", Reveal(plain)},
              {"EncryptionAlgorithm", kSymmetricDefault}};
}

Answer ReEncrypt(Invocation& call) {
  const Parameters& p = call.parameters;
  KF_RETURN_IF_ERROR(CheckAlgorithm(p, "SourceEncryptionAlgorithm"));
  KF_RETURN_IF_ERROR(CheckAlgorithm(p, "DestinationEncryptionAlgorithm"));
  call.context_parameter = "DestinationEncryptionContext";
  KF_ASSIGN_OR_RETURN(const EncryptionContext context,
                      ContextToSeal(p, call.context_parameter));
  call.conditions["kms:ReEncryptOnSameKey"] = {OnSameKey(call) ? "true" : "false"};
  KF_ASSIGN_OR_RETURN(const KeyRef to,
                      call.FindKey(p.String("DestinationKeyId"), "kms:ReEncryptTo"));
  KF_RETURN_IF_ERROR(call.RequireUse(*to, KeyUsage::kEncryptDecrypt));
  KeyRef from;
  KF_ASSIGN_OR_RETURN(const SecretBytes plain,
                      OpenForCaller(call, "SourceKeyId", "SourceEncryptionContext",
                                    "kms:ReEncryptFrom", from));
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  KF_RETURN_IF_ERROR(call.DryRunDone());
  KF_ASSIGN_OR_RETURN(const Bytes blob, EncryptUnder(*secrets, *to, context, plain));
  call.used = {{"ReEncryptFrom", from->id}, {"ReEncryptTo", to->id}};
  return json{{"CiphertextBlob", ToBase64(blob)},
              {"SourceKeyId", KeyArn(call.account, from->id)},
              {"SourceKeyMaterialId", MaterialOfBlob(call, *from)},
              {"KeyId", KeyArn(call.account, to->id)},
              {"DestinationKeyMaterialId", MaterialId(*to, to->CurrentVersion())},
              {"SourceEncryptionAlgorithm", kSymmetricDefault},
              {"DestinationEncryptionAlgorithm", kSymmetricDefault}};
}

Answer GenerateDataKey(Invocation& call) { return MakeDataKey(call, true); }
Answer GenerateDataKeyWithoutPlaintext(Invocation& call) {
  return MakeDataKey(call, false);
}

Answer GenerateRandom(Invocation& call) {
  KF_RETURN_IF_ERROR(call.AuthorizeOnAccount(call.Action(), "*"));
  KF_RETURN_IF_ERROR(RefuseRecipient(call.parameters));
  if (call.parameters.Has("CustomKeyStoreId"))
    return Status(Error::kUnsupportedOperation, "Custom key stores are not supported.");
  const auto size = call.parameters.Integer("NumberOfBytes");
  if (!size)
    return Status(Error::kValidation,
                  "1 validation error detected: 'numberOfBytes' must not be null");
  return json{{"Plaintext", Reveal(RandomSecret(static_cast<size_t>(*size)))}};
}

}  // namespace keyfold
