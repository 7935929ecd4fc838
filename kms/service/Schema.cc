#include "kms/service/Schema.h"

#include <algorithm>

namespace keyfold {
namespace {

constexpr bool kReadOnly = true;
constexpr bool kChanges = false;
constexpr bool kRequired = true;

Parameter KeyId(std::string_view help = "Key id, ARN, alias name or alias ARN") {
  return {"KeyId", Kind::kString, kRequired, help};
}
Parameter Context(std::string_view name = "EncryptionContext") {
  return {
      name, Kind::kStringMap, false,
      "Pairs that are authenticated with the ciphertext, such as department=finance"};
}
Parameter GrantTokens() {
  return {"GrantTokens", Kind::kStringList, false, "Tokens of grants to use at once"};
}
Parameter DryRun() {
  return {"DryRun", Kind::kBoolean, false,
          "Only tell whether the call would be allowed"};
}
Parameter Limit() {
  return {"Limit", Kind::kInteger, false, "At most this many items, 1 to 1000"};
}
Parameter Marker() {
  return {"Marker", Kind::kString, false, "NextMarker of the page before"};
}

std::vector<Operation> KeyOperations() {
  return {
      {"kms",
       "CreateKey",
       kChanges,
       "Creates a customer master key (CMK).",
       {{"Policy", Kind::kString, false, "Key policy, AWS JSON or YAML (file://FILE)"},
        {"Description", Kind::kString, false, "At most 8192 characters"},
        {"KeyUsage", Kind::kString, false, "ENCRYPT_DECRYPT"},
        {"CustomerMasterKeySpec", Kind::kString, false,
         "SYMMETRIC_DEFAULT (older name)"},
        {"KeySpec", Kind::kString, false, "SYMMETRIC_DEFAULT"},
        {"Origin", Kind::kString, false, "AWS_KMS, or EXTERNAL to import its material"},
        {"BypassPolicyLockoutSafetyCheck", Kind::kBoolean, false,
         "Accept a policy under which the caller cannot change it again"},
        {"Tags", Kind::kStructureList, false, "TagKey=KEY,TagValue=VALUE, at most 50"},
        {"MultiRegion", Kind::kBoolean, false, "Not supported"}}},
      {"kms",
       "DescribeKey",
       kReadOnly,
       "Shows a key's metadata.",
       {KeyId(), GrantTokens()}},
      {"kms", "ListKeys", kReadOnly, "Lists all keys.", {Limit(), Marker()}},
      {"kms",
       "UpdateKeyDescription",
       kChanges,
       "Changes a key's description.",
       {KeyId(), {"Description", Kind::kString, kRequired, "At most 8192 characters"}}},
      {"kms", "EnableKey", kChanges, "Makes a disabled key usable again.", {KeyId()}},
      {"kms", "DisableKey", kChanges, "Stops all use of a key, at once.", {KeyId()}},
      {"kms",
       "ScheduleKeyDeletion",
       kChanges,
       "Stops all use of a key at once and destroys it after a waiting period.",
       {KeyId(),
        {"PendingWindowInDays", Kind::kInteger, false, "7 to 30, default 30"}}},
      {"kms",
       "CancelKeyDeletion",
       kChanges,
       "Takes back a scheduled deletion; the key is then Disabled.",
       {KeyId()}},
      {"kms",
       "CreateAlias",
       kChanges,
       "Gives a key a name.",
       {{"AliasName", Kind::kString, kRequired, "alias/NAME"},
        {"TargetKeyId", Kind::kString, kRequired, "Key id or ARN"}}},
      {"kms",
       "UpdateAlias",
       kChanges,
       "Points an alias at another key.",
       {{"AliasName", Kind::kString, kRequired, "alias/NAME"},
        {"TargetKeyId", Kind::kString, kRequired, "Key id or ARN"}}},
      {"kms",
       "DeleteAlias",
       kChanges,
       "Removes an alias; its key stays.",
       {{"AliasName", Kind::kString, kRequired, "alias/NAME"}}},
      {"kms",
       "ListAliases",
       kReadOnly,
       "Lists aliases, of one key or of all.",
       {{"KeyId", Kind::kString, false, "Only the aliases of this key"},
        Limit(),
        Marker()}},
      {"kms",
       "TagResource",
       kChanges,
       "Adds or changes tags of a key.",
       {KeyId(),
        {"Tags", Kind::kStructureList, kRequired, "TagKey=KEY,TagValue=VALUE"}}},
      {"kms",
       "UntagResource",
       kChanges,
       "Removes tags of a key.",
       {KeyId(), {"TagKeys", Kind::kStringList, kRequired, "Keys of the tags"}}},
      {"kms",
       "ListResourceTags",
       kReadOnly,
       "Lists a key's tags.",
       {KeyId(), Limit(), Marker()}},
  };
}

std::vector<Operation> PolicyOperations() {
  return {
      {"kms",
       "GetKeyPolicy",
       kReadOnly,
       "Shows a key's policy.",
       {KeyId(), {"PolicyName", Kind::kString, false, "default"}}},
      {"kms",
       "PutKeyPolicy",
       kChanges,
       "Replaces a key's policy.",
       {KeyId(),
        {"PolicyName", Kind::kString, false, "default"},
        {"Policy", Kind::kString, kRequired,
         "Key policy, AWS JSON or YAML (file://FILE)"},
        {"BypassPolicyLockoutSafetyCheck", Kind::kBoolean, false,
         "Accept a policy under which the caller cannot change it again"}}},
      {"kms",
       "ListKeyPolicies",
       kReadOnly,
       "Lists the names of a key's policies.",
       {KeyId(), Limit(), Marker()}},
      {"kms",
       "CreateGrant",
       kChanges,
       "Lets a principal use a key for some operations.",
       {KeyId(),
        {"GranteePrincipal", Kind::kString, kRequired, "ARN, or user:NAME"},
        {"RetiringPrincipal", Kind::kString, false, "Who may retire the grant"},
        {"Operations", Kind::kStringList, kRequired, "Decrypt, GenerateDataKey, ..."},
        {"Constraints", Kind::kStructure, false,
         "EncryptionContextEquals or EncryptionContextSubset"},
        GrantTokens(),
        {"Name", Kind::kString, false, "Makes a repeated call harmless"},
        DryRun()}},
      {"kms",
       "ListGrants",
       kReadOnly,
       "Lists a key's grants.",
       {Limit(),
        Marker(),
        KeyId(),
        {"GrantId", Kind::kString, false, "Only this grant"},
        {"GranteePrincipal", Kind::kString, false, "Only grants to this principal"}}},
      {"kms",
       "ListRetirableGrants",
       kReadOnly,
       "Lists the grants a principal may retire.",
       {Limit(),
        Marker(),
        {"RetiringPrincipal", Kind::kString, kRequired, "ARN, or user:NAME"}}},
      {"kms",
       "RevokeGrant",
       kChanges,
       "Ends a grant.",
       {KeyId(), {"GrantId", Kind::kString, kRequired, "Id of the grant"}, DryRun()}},
      {"kms",
       "RetireGrant",
       kChanges,
       "Gives up a grant, by its grantee or retiring principal.",
       {{"GrantToken", Kind::kString, false, "Token of the grant"},
        {"KeyId", Kind::kString, false, "Key id or ARN"},
        {"GrantId", Kind::kString, false, "Id of the grant"},
        DryRun()}},
      {"kms",
       "EnableKeyRotation",
       kChanges,
       "Turns automatic rotation on.",
       {KeyId(),
        {"RotationPeriodInDays", Kind::kInteger, false, "90 to 2560, default 365"}}},
      {"kms",
       "DisableKeyRotation",
       kChanges,
       "Turns automatic rotation off.",
       {KeyId()}},
      {"kms",
       "GetKeyRotationStatus",
       kReadOnly,
       "Tells whether and when a key rotates.",
       {KeyId()}},
      {"kms",
       "ListKeyRotations",
       kReadOnly,
       "Lists a key's completed rotations.",
       {KeyId(), Limit(), Marker()}},
      {"kms", "RotateKeyOnDemand", kChanges, "Rotates a key now.", {KeyId()}},
  };
}

std::vector<Operation> CryptographicOperations() {
  const Parameter plaintext{"Plaintext", Kind::kBlob, kRequired, "1 to 4096 bytes"};
  const Parameter blob{"CiphertextBlob", Kind::kBlob, kRequired,
                       "What Encrypt returned"};
  const Parameter algorithm{"EncryptionAlgorithm", Kind::kString, false,
                            "SYMMETRIC_DEFAULT"};
  const std::vector<Parameter> data_key = {
      KeyId(),
      Context(),
      {"NumberOfBytes", Kind::kInteger, false, "1 to 1024"},
      {"KeySpec", Kind::kString, false, "AES_256 or AES_128"},
      GrantTokens(),
      DryRun()};
  return {
      {"kms",
       "Encrypt",
       kReadOnly,
       "Encrypts up to 4096 bytes under a key.",
       {KeyId(), plaintext, Context(), GrantTokens(), algorithm, DryRun()}},
      {"kms",
       "Decrypt",
       kReadOnly,
       "Decrypts what Encrypt or GenerateDataKey made.",
       {blob,
        Context(),
        GrantTokens(),
        {"KeyId", Kind::kString, false, "Refuse a blob of any other key"},
        algorithm,
        DryRun()}},
      {"kms",
       "ReEncrypt",
       kReadOnly,
       "Decrypts and encrypts again without showing the data.",
       {blob,
        Context("SourceEncryptionContext"),
        {"SourceKeyId", Kind::kString, false, "Refuse a blob of any other key"},
        {"DestinationKeyId", Kind::kString, kRequired, "Key to encrypt under"},
        Context("DestinationEncryptionContext"),
        {"SourceEncryptionAlgorithm", Kind::kString, false, "SYMMETRIC_DEFAULT"},
        {"DestinationEncryptionAlgorithm", Kind::kString, false, "SYMMETRIC_DEFAULT"},
        GrantTokens(),
        DryRun()}},
      {"kms", "GenerateDataKey", kReadOnly, "Makes a data key, in plain and wrapped.",
       data_key},
      {"kms", "GenerateDataKeyWithoutPlaintext", kReadOnly, "Makes a wrapped data key.",
       data_key},
      {"kms",
       "GenerateRandom",
       kReadOnly,
       "Makes random bytes.",
       {{"NumberOfBytes", Kind::kInteger, kRequired, "1 to 1024"}}},
      {"kms",
       "GetParametersForImport",
       kReadOnly,
       "Gives a public key and a token for importing key material, valid 24 hours.",
       {KeyId(),
        {"WrappingAlgorithm", Kind::kString, kRequired,
         "RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, RSA_AES_KEY_WRAP_SHA_1 or _SHA_256"},
        {"WrappingKeySpec", Kind::kString, kRequired,
         "RSA_2048, RSA_3072 or RSA_4096"}}},
      {"kms",
       "ImportKeyMaterial",
       kChanges,
       "Imports wrapped key material.",
       {KeyId(),
        {"ImportToken", Kind::kBlob, kRequired, "From GetParametersForImport"},
        {"EncryptedKeyMaterial", Kind::kBlob, kRequired, "32 bytes, wrapped"},
        {"ValidTo", Kind::kTimestamp, false, "When the material expires"},
        {"ExpirationModel", Kind::kString, false,
         "KEY_MATERIAL_EXPIRES or KEY_MATERIAL_DOES_NOT_EXPIRE"}}},
      {"kms",
       "DeleteImportedKeyMaterial",
       kChanges,
       "Deletes imported key material at once; the same can be imported again.",
       {KeyId()}},
  };
}

std::vector<Operation> KeyfoldOperations() {
  const Parameter user{"User", Kind::kString, false, "Unix name or ARN"};
  return {
      {"iam",
       "GetIam",
       kReadOnly,
       "Shows the account's users, groups, roles and policies.",
       {}},
      {"iam",
       "ApplyIam",
       kChanges,
       "Replaces the account's IAM document.",
       {{"Document", Kind::kString, kRequired, "iam.yaml"},
        {"DocumentName", Kind::kString, false, "Its name, for messages"},
        DryRun()}},
      {"iam", "WhoAmI", kReadOnly, "Shows the caller's identity.", {}},
      {"iam",
       "CreateAccessKey",
       kChanges,
       "Makes an access key of your own, to sign requests to the endpoint with.",
       {}},
      {"iam",
       "ListAccessKeys",
       kReadOnly,
       "Lists a user's access keys.",
       {{"UserName", Kind::kString, false, "Unix name; else you"}}},
      {"iam",
       "UpdateAccessKey",
       kChanges,
       "Disables an access key, or enables it again.",
       {{"AccessKeyId", Kind::kString, kRequired, "Id of the access key"},
        {"Status", Kind::kString, kRequired, "Active or Inactive"}}},
      {"iam",
       "DeleteAccessKey",
       kChanges,
       "Deletes an access key for good.",
       {{"AccessKeyId", Kind::kString, kRequired, "Id of the access key"}}},
      {"iam",
       "AssumeRole",
       kChanges,
       "Gives temporary credentials of a role that trusts you.",
       {{"RoleArn", Kind::kString, kRequired, "ARN, or role:NAME"},
        {"RoleSessionName", Kind::kString, false, "Shown in the audit log"},
        {"DurationSeconds", Kind::kInteger, false, "900 to 43200, default 3600"}}},
      {"iam",
       "Simulate",
       kReadOnly,
       "Explains who may do what, and why.",
       {user,
        {"Action", Kind::kString, kRequired, "Such as kms:Decrypt"},
        {"KeyId", Kind::kString, false, "Key id, ARN or alias"},
        Context(),
        {"ViaService", Kind::kString, false, "fs.keyfold for use through the mount"}}},
      {"audit",
       "LookupEvents",
       kReadOnly,
       "Shows audit records.",
       {{"Since", Kind::kString, false, "ISO 8601, inclusive"},
        user,
        {"KeyId", Kind::kString, false, "Key id, ARN or alias"},
        {"AfterSequence", Kind::kInteger, false, "Only records behind this one"},
        {"BeforeSequence", Kind::kInteger, false, "Only records before this one"},
        {"MaxResults", Kind::kInteger, false, "The last this many"}}},
      {"audit", "VerifyLog", kReadOnly, "Checks the chain of the whole audit log.", {}},
      {"audit",
       "ListPublicKeys",
       kReadOnly,
       "Shows the public key of the audit log's digests.",
       {}},
      {"audit", "ArchiveLog", kChanges, "Begins a new file of the audit log.", {}},
      {"audit",
       "ReleaseLog",
       kChanges,
       "Lets an archive of the audit log, and those before it, be moved away.",
       {{"Archive", Kind::kString, kRequired, "Name of the archive"}}},
      {"audit", "ListArchives", kReadOnly, "Lists the archives of the audit log.", {}},
      {"store", "GetStatus", kReadOnly, "Shows the store and its keys in numbers.", {}},
      {"store",
       "BackupKeyStore",
       kReadOnly,
       "Makes a sealed copy of the key store.",
       {}},
  };
}

std::vector<Operation> AllOperations() {
  std::vector<Operation> all;
  for (auto& part : {KeyOperations(), PolicyOperations(), CryptographicOperations(),
                     KeyfoldOperations()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace

const std::vector<Operation>& Operations() {
  static const auto* all = new std::vector<Operation>(AllOperations());
  return *all;
}

const Operation* FindOperation(std::string_view service, std::string_view name) {
  const auto& all = Operations();
  const auto it = std::find_if(all.begin(), all.end(), [&](const Operation& operation) {
    return operation.service == service && operation.name == name;
  });
  return it == all.end() ? nullptr : &*it;
}

}  // namespace keyfold
