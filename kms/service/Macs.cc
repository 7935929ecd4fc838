// Message authentication codes under HMAC keys.
#include "kms/service/Operations.h"

namespace keyfold {
namespace {

using nlohmann::json;

// MacOf is the MAC of the call's Message under its key.
Result<Bytes> MacOf(const Invocation& call) {
  const KeyRecord& key = *call.key;
  const KeySpecTraits& spec = TraitsOf(key.spec);
  const std::string algorithm = call.parameters.String("MacAlgorithm");
  if (algorithm != spec.algorithm)
    return Status(Error::kInvalidKeyUsage, "Algorithm " + algorithm +
                                               " is incompatible with key spec " +
                                               std::string(spec.name) + ".");
  const MaterialVersion* version = key.FindVersion(key.CurrentVersion());
  if (version == nullptr)
    return Status(Error::kInvalidState, "The key has no material.");
  KF_ASSIGN_OR_RETURN(const auto secrets, call.root_keys.Use());
  KF_ASSIGN_OR_RETURN(const CmkMaterial material,
                      OpenMaterial(*secrets, key, *version));
  return Hmac(spec.hash, material.bytes(), call.parameters.Blob("Message"));
}

}  // namespace

Answer GenerateMac(Invocation& call) {
  KF_ASSIGN_OR_RETURN(const Bytes mac, MacOf(call));
  KF_RETURN_IF_ERROR(call.DryRunDone());
  return json{{"Mac", ToBase64(mac)},
              {"MacAlgorithm", TraitsOf(call.key->spec).algorithm},
              {"KeyId", KeyArn(call.account, call.key->id)}};
}

Answer VerifyMac(Invocation& call) {
  KF_ASSIGN_OR_RETURN(const Bytes mac, MacOf(call));
  if (!ConstantTimeEqual(mac, call.parameters.Blob("Mac")))
    return Status(Error::kInvalidMac, "The MAC is not the message's under this key.");
  KF_RETURN_IF_ERROR(call.DryRunDone());
  return json{{"MacValid", true},
              {"MacAlgorithm", TraitsOf(call.key->spec).algorithm},
              {"KeyId", KeyArn(call.account, call.key->id)}};
}

}  // namespace keyfold
