#include "kms/service/Schema.h"

namespace keyfold {
namespace {

constexpr bool kReadOnly = true;
constexpr bool kChanges = false;
constexpr bool kRequired = true;

constexpr std::string_view kUsages[] = {"SIGN_VERIFY", "ENCRYPT_DECRYPT",
                                        "GENERATE_VERIFY_MAC", "KEY_AGREEMENT"};
constexpr std::string_view kKeySpecs[] = {
    "RSA_2048",      "RSA_3072",          "RSA_4096",  "ECC_NIST_P256",
    "ECC_NIST_P384", "ECC_NIST_P521",     "HMAC_224",  "HMAC_256",
    "HMAC_384",      "HMAC_512",          "ML_DSA_44", "ML_DSA_65",
    "ML_DSA_87",     "SYMMETRIC_DEFAULT", "SM2",       "ECC_SECG_P256K1",
};
constexpr std::string_view kOrigins[] = {"AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM",
                                         "EXTERNAL_KEY_STORE"};
constexpr std::string_view kEncryptionAlgorithms[] = {
    "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"};
constexpr std::string_view kMacAlgorithms[] = {"HMAC_SHA_224", "HMAC_SHA_256",
                                               "HMAC_SHA_384", "HMAC_SHA_512"};
constexpr std::string_view kDataKeySpecs[] = {"AES_256", "AES_128"};
constexpr std::string_view kKeyPairSpecs[] = {
    "RSA_2048",      "RSA_3072",      "RSA_4096",        "ECC_NIST_P256",
    "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "SM2"};
constexpr std::string_view kGrantOperations[] = {"Decrypt",
                                                 "Encrypt",
                                                 "GenerateDataKey",
                                                 "GenerateDataKeyWithoutPlaintext",
                                                 "ReEncryptFrom",
                                                 "ReEncryptTo",
                                                 "Sign",
                                                 "Verify",
                                                 "GetPublicKey",
                                                 "CreateGrant",
                                                 "RetireGrant",
                                                 "DescribeKey",
                                                 "GenerateDataKeyPair",
                                                 "GenerateDataKeyPairWithoutPlaintext",
                                                 "GenerateMac",
                                                 "VerifyMac",
                                                 "DeriveSharedSecret"};
constexpr std::string_view kWrappingAlgorithms[] = {
    "RSAES_PKCS1_V1_5",       "RSAES_OAEP_SHA_1",         "RSAES_OAEP_SHA_256",
    "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256", "SM2PKE"};
constexpr std::string_view kWrappingSpecs[] = {"RSA_2048", "RSA_3072", "RSA_4096",
                                               "SM2"};
constexpr std::string_view kExpirationModels[] = {"KEY_MATERIAL_EXPIRES",
                                                  "KEY_MATERIAL_DOES_NOT_EXPIRE"};

constexpr std::string_view kImportTypes[] = {"NEW_KEY_MATERIAL",
                                             "EXISTING_KEY_MATERIAL"};
constexpr std::string_view kKeyMaterials[] = {"ALL_KEY_MATERIAL", "ROTATIONS_ONLY"};

constexpr std::string_view kAccessKeyStates[] = {"Active", "Inactive"};

constexpr Limits kKeyIdLimits{1, 2048};
constexpr Limits kAliasLimits{1, 256, "[a-zA-Z0-9:/_-]+"};
constexpr Limits kDescriptionLimits{0, 8192};
constexpr Limits kPolicyLimits{1, 131072};
constexpr Limits kPrincipalLimits{1, 256};
constexpr Limits kMaterialIdLimits{64, 64, "[a-f0-9]+"};
constexpr Limits kGrantIdLimits{1, 128};
constexpr Limits kTokenLimits{1, 8192};
constexpr Limits kBlobLimits{1, 6144};
constexpr Limits kMessageLimits{1, 4096};
constexpr Limits kStoreIdLimits{1, 64};
constexpr Limits kRandomLimits{1, 1024};

Limits OneOf(std::span<const std::string_view> values) { return {0, 0, {}, values}; }

// The addresses of webhooks may hold secrets.
Parameter AlertDocument(bool required, std::string_view help) {
  return {"Document", Kind::kString, required, help, {}, {}, true};
}
Parameter KeyId(std::string_view help = "Key id, ARN, alias name or alias ARN") {
  return {"KeyId", Kind::kString, kRequired, help, kKeyIdLimits};
}
Parameter AliasName() {
  return {"AliasName", Kind::kString, kRequired, "alias/NAME", kAliasLimits};
}
Parameter TargetKeyId() {
  return {"TargetKeyId", Kind::kString, kRequired, "Key id or ARN", kKeyIdLimits};
}
Parameter PolicyName() {
  return {"PolicyName", Kind::kString, false, "default", {1, 128, "[\\w]+"}};
}
Parameter BypassCheck() {
  return {"BypassPolicyLockoutSafetyCheck", Kind::kBoolean, false,
          "Accept a policy under which the caller cannot change it again"};
}
Parameter MacAlgorithm() {
  return {"MacAlgorithm", Kind::kString, kRequired,
          "The one of the key's spec, such as HMAC_SHA_256", OneOf(kMacAlgorithms)};
}
Parameter Message() {
  return {"Message", Kind::kBlob, kRequired, "1 to 4096 bytes", kMessageLimits};
}
Parameter Recipient() {
  return {"Recipient", Kind::kStructure, false, "Not supported"};
}
Parameter Context(std::string_view name = "EncryptionContext") {
  return {
      name, Kind::kStringMap, false,
      "Pairs that are authenticated with the ciphertext, such as department=finance"};
}
Parameter GrantTokens() {
  return {"GrantTokens", Kind::kStringList, false, "Tokens of grants to use at once",
          {0, 10},       kTokenLimits};
}
Parameter DryRun() {
  return {"DryRun", Kind::kBoolean, false,
          "Only tell whether the call would be allowed"};
}
Parameter Limit() {
  return {
      "Limit", Kind::kInteger, false, "At most this many items, 1 to 1000", {1, 1000}};
}
Parameter Marker() {
  return {"Marker",
          Kind::kString,
          false,
          "NextMarker of the page before",
          {1, 1024, "[\\u0020-\\u00FF]*"}};
}

std::vector<Operation> KeyOperations() {
  return {
      {"kms",
       "CreateKey",
       kChanges,
       "Creates a customer master key (CMK).",
       {{"Policy", Kind::kString, false, "Key policy, AWS JSON or YAML (file://FILE)",
         kPolicyLimits},
        {"Description", Kind::kString, false, "At most 8192 characters",
         kDescriptionLimits},
        {"KeyUsage", Kind::kString, false, "ENCRYPT_DECRYPT or GENERATE_VERIFY_MAC",
         OneOf(kUsages)},
        {"CustomerMasterKeySpec", Kind::kString, false, "Older name of KeySpec",
         OneOf(kKeySpecs)},
        {"KeySpec", Kind::kString, false,
         "SYMMETRIC_DEFAULT, HMAC_224, HMAC_256, HMAC_384 or HMAC_512",
         OneOf(kKeySpecs)},
        {"Origin", Kind::kString, false, "AWS_KMS, or EXTERNAL to import its material",
         OneOf(kOrigins)},
        {"CustomKeyStoreId", Kind::kString, false, "Not supported", kStoreIdLimits},
        BypassCheck(),
        {"Tags", Kind::kStructureList, false, "TagKey=KEY,TagValue=VALUE, at most 50"},
        {"MultiRegion", Kind::kBoolean, false, "Not supported"},
        {"XksKeyId",
         Kind::kString,
         false,
         "Not supported",
         {1, 128, "[a-zA-Z0-9-_.]+"}}}},
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
       {KeyId(),
        {"Description", Kind::kString, kRequired, "At most 8192 characters",
         kDescriptionLimits}}},
      {"kms", "EnableKey", kChanges, "Makes a disabled key usable again.", {KeyId()}},
      {"kms", "DisableKey", kChanges, "Stops all use of a key, at once.", {KeyId()}},
      {"kms",
       "ScheduleKeyDeletion",
       kChanges,
       "Stops all use of a key at once and destroys it after a waiting period.",
       {KeyId(),
        {"PendingWindowInDays",
         Kind::kInteger,
         false,
         "7 to 30, default 30",
         {7, 30}}}},
      {"kms",
       "CancelKeyDeletion",
       kChanges,
       "Takes back a scheduled deletion; the key is then Disabled.",
       {KeyId()}},
      {"kms",
       "CreateAlias",
       kChanges,
       "Gives a key a name.",
       {AliasName(), TargetKeyId()}},
      {"kms",
       "UpdateAlias",
       kChanges,
       "Points an alias at another key.",
       {AliasName(), TargetKeyId()}},
      {"kms",
       "DeleteAlias",
       kChanges,
       "Removes an alias; its key stays.",
       {AliasName()}},
      {"kms",
       "ListAliases",
       kReadOnly,
       "Lists aliases, of one key or of all.",
       {{"KeyId", Kind::kString, false, "Only the aliases of this key", kKeyIdLimits},
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
       {KeyId(),
        {"TagKeys", Kind::kStringList, kRequired, "Keys of the tags", {}, {1, 128}}}},
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
       {KeyId(), PolicyName()}},
      {"kms",
       "PutKeyPolicy",
       kChanges,
       "Replaces a key's policy.",
       {KeyId(),
        PolicyName(),
        {"Policy", Kind::kString, kRequired,
         "Key policy, AWS JSON or YAML (file://FILE)", kPolicyLimits},
        BypassCheck()}},
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
        {"GranteePrincipal", Kind::kString, kRequired, "ARN, or user:NAME",
         kPrincipalLimits},
        {"RetiringPrincipal", Kind::kString, false, "Who may retire the grant",
         kPrincipalLimits},
        {"Operations",
         Kind::kStringList,
         kRequired,
         "Decrypt, GenerateDataKey, ...",
         {},
         OneOf(kGrantOperations)},
        {"Constraints", Kind::kStructure, false,
         "EncryptionContextEquals or EncryptionContextSubset"},
        GrantTokens(),
        {"Name", Kind::kString, false, "Makes a repeated call harmless", kAliasLimits},
        DryRun()}},
      {"kms",
       "ListGrants",
       kReadOnly,
       "Lists a key's grants.",
       {Limit(),
        Marker(),
        KeyId(),
        {"GrantId", Kind::kString, false, "Only this grant", kGrantIdLimits},
        {"GranteePrincipal", Kind::kString, false, "Only grants to this principal",
         kPrincipalLimits}}},
      {"kms",
       "ListRetirableGrants",
       kReadOnly,
       "Lists the grants a principal may retire.",
       {Limit(),
        Marker(),
        {"RetiringPrincipal", Kind::kString, kRequired, "ARN, or user:NAME",
         kPrincipalLimits}}},
      {"kms",
       "RevokeGrant",
       kChanges,
       "Ends a grant.",
       {KeyId(),
        {"GrantId", Kind::kString, kRequired, "Id of the grant", kGrantIdLimits},
        DryRun()}},
      {"kms",
       "RetireGrant",
       kChanges,
       "Gives up a grant, by its grantee or retiring principal.",
       {{"GrantToken", Kind::kString, false, "Token of the grant", kTokenLimits},
        {"KeyId", Kind::kString, false, "Key id or ARN", kKeyIdLimits},
        {"GrantId", Kind::kString, false, "Id of the grant", kGrantIdLimits},
        DryRun()}},
      {"kms",
       "EnableKeyRotation",
       kChanges,
       "Turns automatic rotation on.",
       {KeyId(),
        {"RotationPeriodInDays",
         Kind::kInteger,
         false,
         "90 to 2560, default 365",
         {90, 2560}}}},
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
       "Lists a key's completed rotations, or all its key material.",
       {KeyId(),
        {"IncludeKeyMaterial", Kind::kString, false,
         "ROTATIONS_ONLY (the default) or ALL_KEY_MATERIAL", OneOf(kKeyMaterials)},
        Limit(),
        Marker()}},
      {"kms",
       "RotateKeyOnDemand",
       kChanges,
       "Rotates a key now; an EXTERNAL one to the material that is pending.",
       {KeyId()}},
  };
}

std::vector<Operation> CryptographicOperations() {
  const Parameter plaintext{"Plaintext", Kind::kBlob, kRequired, "1 to 4096 bytes",
                            kMessageLimits};
  const Parameter blob{"CiphertextBlob", Kind::kBlob, kRequired,
                       "What Encrypt returned", kBlobLimits};
  const auto algorithm = [](std::string_view name) {
    return Parameter{name, Kind::kString, false, "SYMMETRIC_DEFAULT",
                     OneOf(kEncryptionAlgorithms)};
  };
  const auto key_named = [](std::string_view name) {
    return Parameter{name, Kind::kString, false, "Refuse a blob of any other key",
                     kKeyIdLimits};
  };
  const std::vector<Parameter> data_key = {
      KeyId(),
      Context(),
      {"NumberOfBytes", Kind::kInteger, false, "1 to 1024", kRandomLimits},
      {"KeySpec", Kind::kString, false, "AES_256 or AES_128", OneOf(kDataKeySpecs)},
      GrantTokens(),
      DryRun()};
  const std::vector<Parameter> key_pair = {
      KeyId(),
      Context(),
      {"KeyPairSpec", Kind::kString, kRequired,
       "RSA_2048 to RSA_4096, ECC_NIST_P256 to _P521, or ECC_SECG_P256K1",
       OneOf(kKeyPairSpecs)},
      GrantTokens(),
      DryRun()};
  const auto with_recipient = [](std::vector<Parameter> parameters) {
    parameters.push_back(Recipient());
    return parameters;
  };
  return {
      {"kms",
       "Encrypt",
       kReadOnly,
       "Encrypts up to 4096 bytes under a key.",
       {KeyId(), plaintext, Context(), GrantTokens(), algorithm("EncryptionAlgorithm"),
        DryRun()}},
      {"kms",
       "Decrypt",
       kReadOnly,
       "Decrypts what Encrypt or GenerateDataKey made.",
       {blob, Context(), GrantTokens(), key_named("KeyId"),
        algorithm("EncryptionAlgorithm"), Recipient(), DryRun()}},
      {"kms",
       "ReEncrypt",
       kReadOnly,
       "Decrypts and encrypts again without showing the data.",
       {blob,
        Context("SourceEncryptionContext"),
        key_named("SourceKeyId"),
        {"DestinationKeyId", Kind::kString, kRequired, "Key to encrypt under",
         kKeyIdLimits},
        Context("DestinationEncryptionContext"),
        algorithm("SourceEncryptionAlgorithm"),
        algorithm("DestinationEncryptionAlgorithm"),
        GrantTokens(),
        DryRun()}},
      {"kms", "GenerateDataKey", kReadOnly, "Makes a data key, in plain and wrapped.",
       with_recipient(data_key)},
      {"kms", "GenerateDataKeyWithoutPlaintext", kReadOnly, "Makes a wrapped data key.",
       data_key},
      {"kms", "GenerateDataKeyPair", kReadOnly,
       "Makes a pair of keys, the private one in plain and wrapped.",
       with_recipient(key_pair)},
      {"kms", "GenerateDataKeyPairWithoutPlaintext", kReadOnly,
       "Makes a pair of keys, the private one wrapped.", key_pair},
      {"kms",
       "GenerateMac",
       kReadOnly,
       "Makes a message authentication code (HMAC).",
       {Message(), KeyId(), MacAlgorithm(), GrantTokens(), DryRun()}},
      {"kms",
       "VerifyMac",
       kReadOnly,
       "Checks a message authentication code (HMAC).",
       {Message(),
        KeyId(),
        MacAlgorithm(),
        {"Mac", Kind::kBlob, kRequired, "What GenerateMac returned", kBlobLimits},
        GrantTokens(),
        DryRun()}},
      {"kms",
       "GenerateRandom",
       kReadOnly,
       "Makes random bytes.",
       {{"NumberOfBytes", Kind::kInteger, false, "1 to 1024; has no default",
         kRandomLimits},
        {"CustomKeyStoreId", Kind::kString, false, "Not supported", kStoreIdLimits},
        Recipient()}},
      {"kms",
       "GetParametersForImport",
       kReadOnly,
       "Gives a public key and a token for importing key material, valid 24 hours.",
       {KeyId(),
        {"WrappingAlgorithm", Kind::kString, kRequired,
         "RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, RSA_AES_KEY_WRAP_SHA_1 or _SHA_256",
         OneOf(kWrappingAlgorithms)},
        {"WrappingKeySpec", Kind::kString, kRequired, "RSA_2048, RSA_3072 or RSA_4096",
         OneOf(kWrappingSpecs)}}},
      {"kms",
       "ImportKeyMaterial",
       kChanges,
       "Imports wrapped key material.",
       {KeyId(),
        {"ImportToken", Kind::kBlob, kRequired, "From GetParametersForImport",
         kBlobLimits},
        {"EncryptedKeyMaterial", Kind::kBlob, kRequired,
         "32 bytes, wrapped; 28, 48 or 64 for HMAC_224, _384 or _512", kBlobLimits},
        {"ValidTo", Kind::kTimestamp, false, "When the material expires"},
        {"ExpirationModel", Kind::kString, false,
         "KEY_MATERIAL_EXPIRES or KEY_MATERIAL_DOES_NOT_EXPIRE",
         OneOf(kExpirationModels)},
        {"ImportType", Kind::kString, false,
         "EXISTING_KEY_MATERIAL, or NEW_KEY_MATERIAL to rotate to",
         OneOf(kImportTypes)},
        {"KeyMaterialDescription",
         Kind::kString,
         false,
         "At most 256 characters",
         {0, 256, "[a-zA-Z0-9:/_\\s.-]+"}},
        {"KeyMaterialId", Kind::kString, false, "Refuse any other key material",
         kMaterialIdLimits}}},
      {"kms",
       "DeleteImportedKeyMaterial",
       kChanges,
       "Deletes imported key material at once; the same can be imported again.",
       {KeyId(),
        {"KeyMaterialId", Kind::kString, false, "Not the current material, but this",
         kMaterialIdLimits}}},
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
        {"Status", Kind::kString, kRequired, "Active or Inactive",
         OneOf(kAccessKeyStates)}}},
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
        {"DurationSeconds",
         Kind::kInteger,
         false,
         "900 to 43200, default 3600",
         {900, 43200}}}},
      {"iam",
       "Simulate",
       kReadOnly,
       "Explains who may do what, and why.",
       {user,
        {"Action", Kind::kString, kRequired, "Such as kms:Decrypt"},
        {"KeyId", Kind::kString, false, "Key id, ARN or alias"},
        Context(),
        {"ViaService", Kind::kString, false, "fs.keyfold for use through the mount"},
        {"Conditions", Kind::kStringList, false,
         "KEY=VALUE of other condition keys; one that has several values, repeated"}}},
      {"audit",
       "LookupEvents",
       kReadOnly,
       "Shows audit records.",
       {{"Since", Kind::kString, false, "ISO 8601, inclusive"},
        user,
        {"KeyId", Kind::kString, false, "Key id, ARN or alias"},
        {"Refused", Kind::kBoolean, false, "Only what was refused or failed"},
        {"AfterSequence", Kind::kInteger, false, "Only records behind this one"},
        {"BeforeSequence", Kind::kInteger, false, "Only records before this one"},
        {"MaxResults",
         Kind::kInteger,
         false,
         "The last this many",
         {1, kMostResults}}}},
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
      {"audit", "GetAlertRules", kReadOnly, "Shows the rules of alerts.", {}},
      {"audit",
       "ApplyAlertRules",
       kChanges,
       "Replaces the rules of alerts.",
       {AlertDocument(kRequired, "YAML"),
        {"DocumentName", Kind::kString, false, "Its name, for messages"},
        DryRun()}},
      {"audit",
       "TestAlertRules",
       kReadOnly,
       "Shows which alerts the records there are would have raised.",
       {AlertDocument(false, "YAML; else the rules in force"),
        {"DocumentName", Kind::kString, false, "Its name, for messages"},
        {"Since", Kind::kString, false, "ISO 8601, inclusive"}}},
      {"audit",
       "DescribeCompliance",
       kReadOnly,
       "Judges keys and grants as they are now.",
       {}},
      {"audit", "ListArchives", kReadOnly, "Lists the archives of the audit log.", {}},
      {"store", "GetStatus", kReadOnly, "Shows the store and its keys in numbers.", {}},
      {"store",
       "GetActivity",
       kReadOnly,
       "Shows what is open and how much is done.",
       {{"AfterSequence", Kind::kInteger, false,
         "The answer before said this LastSequence; then there is no record of this "
         "one"}}},
      {"store",
       "BackupKeyStore",
       kReadOnly,
       "Makes a sealed copy of the key store.",
       {}},
      {"store",
       "RotateRootKey",
       kChanges,
       "Records that the root key gives way to a new one.",
       {{"To", Kind::kString, kRequired, "Who will seal it"}}},
      {"store",
       "ChangeRootKeyProvider",
       kChanges,
       "Records that somebody else seals the root key.",
       {{"To", Kind::kString, kRequired, "Who will seal it"}}},
      {"store",
       "UpgradeStore",
       kChanges,
       "Records that the store becomes one of a newer format.",
       {{"From", Kind::kInteger, kRequired, "Its format"},
        {"To", Kind::kInteger, kRequired, "Its next format"}}},
  };
}

// Asymmetric keys, multi-Region keys, custom key stores. What they take does not
// matter.
std::vector<Operation> NotBuilt() {
  std::vector<Operation> all;
  for (const char* name : {"Sign", "Verify", "GetPublicKey", "DeriveSharedSecret",
                           "DescribeCustomKeyStores"})
    all.push_back({"kms", name, kReadOnly, "", {}});
  for (const char* name :
       {"ConnectCustomKeyStore", "CreateCustomKeyStore", "DeleteCustomKeyStore",
        "DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ReplicateKey",
        "UpdatePrimaryRegion"})
    all.push_back({"kms", name, kChanges, "", {}});
  return all;
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

const std::vector<Operation>& RefusedOperations() {
  static const auto* all = new std::vector<Operation>(NotBuilt());
  return *all;
}

const Operation* FindOperation(std::string_view service, std::string_view name) {
  for (const auto* list : {&Operations(), &RefusedOperations()})
    for (const Operation& operation : *list)
      if (operation.service == service && operation.name == name) return &operation;
  return nullptr;
}

}  // namespace keyfold
