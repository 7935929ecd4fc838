// Data key pairs: made here, for use elsewhere.
#include "kms/service/Cryptographic.h"
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

struct NamedKind {
  std::string_view name;
  KeyPairKind kind;
};
constexpr NamedKind kKinds[] = {
    {"RSA_2048", KeyPairKind::kRsa2048},
    {"RSA_3072", KeyPairKind::kRsa3072},
    {"RSA_4096", KeyPairKind::kRsa4096},
    {"ECC_NIST_P256", KeyPairKind::kNistP256},
    {"ECC_NIST_P384", KeyPairKind::kNistP384},
    {"ECC_NIST_P521", KeyPairKind::kNistP521},
    {"ECC_SECG_P256K1", KeyPairKind::kSecgP256k1},
};

Result<KeyPairKind> RequestedKind(const std::string& spec) {
  for (const NamedKind& named : kKinds)
    if (named.name == spec) return named.kind;
  return Status(Error::kUnsupportedOperation,
                "The key pair spec " + spec + " is not supported.");
}

Answer MakeKeyPair(Invocation& call, bool reveal) {
  const std::string spec = call.parameters.String("KeyPairSpec");
  KF_RETURN_IF_ERROR(RefuseRecipient(call.parameters));
  KF_ASSIGN_OR_RETURN(const KeyPairKind kind, RequestedKind(spec));
  KF_ASSIGN_OR_RETURN(const EncryptionContext context,
                      ContextToSeal(call.parameters, "EncryptionContext"));
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  KF_RETURN_IF_ERROR(call.DryRunDone());
  KF_ASSIGN_OR_RETURN(const GeneratedKeyPair pair, GenerateKeyPair(kind));
  KF_ASSIGN_OR_RETURN(const Bytes blob,
                      EncryptUnder(*secrets, *call.key, context, pair.private_key));
  json answer = {{"PrivateKeyCiphertextBlob", ToBase64(blob)},
                 {"PublicKey", ToBase64(pair.public_key)},
                 {"KeyId", KeyArn(call.account, call.key->id)},
                 {"KeyMaterialId", MaterialId(*call.key, call.key->CurrentVersion())},
                 {"KeyPairSpec", spec}};
  if (reveal) answer["PrivateKeyPlaintext"] = Reveal(pair.private_key);
  return answer;
}

}  // namespace

Answer GenerateDataKeyPair(Invocation& call) { return MakeKeyPair(call, true); }
Answer GenerateDataKeyPairWithoutPlaintext(Invocation& call) {
  return MakeKeyPair(call, false);
}

}  // namespace keyfold
