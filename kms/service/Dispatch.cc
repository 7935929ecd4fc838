#include "kms/service/Dispatch.h"

namespace keyfold {
namespace {

constexpr bool kWrites = true;

constexpr DispatchEntry kEntries[] = {
    {"kms", "CreateKey", CreateKey, nullptr, StateRule::kAny, kWrites},
    {"kms", "DescribeKey", DescribeKey, "KeyId"},
    {"kms", "ListKeys", ListKeys},
    {"kms", "UpdateKeyDescription", UpdateKeyDescription, "KeyId",
     StateRule::kUnlessDeletion, kWrites},
    {"kms", "EnableKey", EnableKey, "KeyId", StateRule::kSwitch, kWrites},
    {"kms", "DisableKey", DisableKey, "KeyId", StateRule::kSwitch, kWrites},
    {"kms", "ScheduleKeyDeletion", ScheduleKeyDeletion, "KeyId",
     StateRule::kUnlessDeletion, kWrites},
    {"kms", "CancelKeyDeletion", CancelKeyDeletion, "KeyId", StateRule::kCancel,
     kWrites},
    {"kms", "CreateAlias", CreateAlias, "TargetKeyId", StateRule::kUnlessDeletion,
     kWrites},
    {"kms", "UpdateAlias", UpdateAlias, "TargetKeyId", StateRule::kUnlessDeletion,
     kWrites},
    {"kms", "DeleteAlias", DeleteAlias, nullptr, StateRule::kAny, kWrites},
    {"kms", "ListAliases", ListAliases},
    {"kms", "TagResource", TagResource, "KeyId", StateRule::kUnlessDeletion, kWrites},
    {"kms", "UntagResource", UntagResource, "KeyId", StateRule::kUnlessDeletion,
     kWrites},
    {"kms", "ListResourceTags", ListResourceTags, "KeyId"},
    {"kms", "GetKeyPolicy", GetKeyPolicy, "KeyId"},
    {"kms", "PutKeyPolicy", PutKeyPolicy, "KeyId", StateRule::kAny, kWrites},
    {"kms", "ListKeyPolicies", ListKeyPolicies, "KeyId"},
    {"kms", "CreateGrant", CreateGrant, "KeyId", StateRule::kUse, kWrites},
    {"kms", "ListGrants", ListGrants, "KeyId"},
    {"kms", "ListRetirableGrants", ListRetirableGrants},
    {"kms", "RevokeGrant", RevokeGrant, "KeyId", StateRule::kAny, kWrites},
    {"kms", "RetireGrant", RetireGrant, nullptr, StateRule::kAny, kWrites},
    {"kms", "EnableKeyRotation", EnableKeyRotation, "KeyId", StateRule::kRotation,
     kWrites},
    {"kms", "DisableKeyRotation", DisableKeyRotation, "KeyId", StateRule::kRotation,
     kWrites},
    {"kms", "RotateKeyOnDemand", RotateKeyOnDemand, "KeyId", StateRule::kRotateNow,
     kWrites},
    {"kms", "GetKeyRotationStatus", GetKeyRotationStatus, "KeyId"},
    {"kms", "ListKeyRotations", ListKeyRotations, "KeyId"},
    {"kms", "Encrypt", Encrypt, "KeyId", StateRule::kEncrypt},
    {"kms", "Decrypt", Decrypt},
    {"kms", "ReEncrypt", ReEncrypt},
    {"kms", "GenerateDataKey", GenerateDataKey, "KeyId", StateRule::kEncrypt},
    {"kms", "GenerateDataKeyWithoutPlaintext", GenerateDataKeyWithoutPlaintext, "KeyId",
     StateRule::kEncrypt},
    {"kms", "GenerateDataKeyPair", GenerateDataKeyPair, "KeyId", StateRule::kEncrypt},
    {"kms", "GenerateDataKeyPairWithoutPlaintext", GenerateDataKeyPairWithoutPlaintext,
     "KeyId", StateRule::kEncrypt},
    {"kms", "GenerateMac", GenerateMac, "KeyId", StateRule::kMac},
    {"kms", "VerifyMac", VerifyMac, "KeyId", StateRule::kMac},
    {"kms", "GenerateRandom", GenerateRandom},
    {"kms", "GetParametersForImport", GetParametersForImport, "KeyId",
     StateRule::kImport, kWrites, MakeImportKey},
    {"kms", "ImportKeyMaterial", ImportKeyMaterial, "KeyId", StateRule::kImport,
     kWrites},
    {"kms", "DeleteImportedKeyMaterial", DeleteImportedKeyMaterial, "KeyId",
     StateRule::kDeleteImport, kWrites},
    {"iam", "GetIam", GetIam},
    {"iam", "ApplyIam", ApplyIam, nullptr, StateRule::kAny, kWrites, PrepareIam},
    {"iam", "WhoAmI", WhoAmI},
    {"iam", "CreateAccessKey", CreateAccessKey, nullptr, StateRule::kAny, kWrites},
    {"iam", "ListAccessKeys", ListAccessKeys},
    {"iam", "UpdateAccessKey", UpdateAccessKey, nullptr, StateRule::kAny, kWrites},
    {"iam", "DeleteAccessKey", DeleteAccessKey, nullptr, StateRule::kAny, kWrites},
    {"iam", "AssumeRole", AssumeRole},
    {"iam", "Simulate", Simulate},
    {"audit", "LookupEvents", LookupEvents},
    {"audit", "VerifyLog", VerifyLog},
    {"audit", "ListPublicKeys", ListPublicKeys},
    {"audit", "ArchiveLog", ArchiveLog, nullptr, StateRule::kAny, kWrites},
    {"audit", "ReleaseLog", ReleaseLog, nullptr, StateRule::kAny, kWrites},
    {"audit", "ListArchives", ListArchives},
    {"audit", "GetAlertRules", GetAlertRules},
    {"audit", "ApplyAlertRules", ApplyAlertRules, nullptr, StateRule::kAny, kWrites},
    {"audit", "TestAlertRules", TestAlertRules},
    {"audit", "DescribeCompliance", DescribeCompliance},
    {"store", "GetStatus", GetStatus},
    {"store", "GetActivity", GetActivity},
    {"store", "BackupKeyStore", BackupKeyStore, nullptr, StateRule::kAny, kWrites},
    {"store", "RotateRootKey", RecordStoreChange, nullptr, StateRule::kAny, kWrites},
    {"store", "ChangeRootKeyProvider", RecordStoreChange, nullptr, StateRule::kAny,
     kWrites},
    {"store", "UpgradeStore", RecordStoreChange, nullptr, StateRule::kAny, kWrites},
};

Status UnsupportedOrigin(const Account& account, const KeyRecord& key) {
  return {Error::kUnsupportedOperation, KeyArn(account, key.id) + " origin is " +
                                            std::string(OriginName(key.origin)) +
                                            " which is not valid for this operation."};
}

}  // namespace

const DispatchEntry* FindDispatch(std::string_view service,
                                  std::string_view operation) {
  for (const DispatchEntry& entry : kEntries)
    if (entry.service == service && entry.operation == operation) return &entry;
  return nullptr;
}

Status CheckState(StateRule rule, const Account& account, const KeyRecord& key,
                  TimePoint now) {
  const KeyState state = key.StateAt(now);
  const bool external = key.origin == Origin::kExternal;
  const bool deleting = state == KeyState::kPendingDeletion;
  switch (rule) {
    case StateRule::kAny:
      return OkStatus();
    case StateRule::kUse:
      return RequireEnabled(account, key, now);
    case StateRule::kEncrypt:
      return RequireUse(account, key, KeyUsage::kEncryptDecrypt, now);
    case StateRule::kMac:
      return RequireUse(account, key, KeyUsage::kGenerateVerifyMac, now);
    case StateRule::kSwitch:
      return deleting || state == KeyState::kPendingImport
                 ? RequireEnabled(account, key, now)
                 : OkStatus();
    case StateRule::kUnlessDeletion:
      return deleting ? RequireEnabled(account, key, now) : OkStatus();
    case StateRule::kRotation:
      if (external) return UnsupportedOrigin(account, key);
      [[fallthrough]];
    case StateRule::kRotateNow:
      if (key.usage() != KeyUsage::kEncryptDecrypt)
        return {Error::kUnsupportedOperation,
                KeyArn(account, key.id) + " key spec is " +
                    std::string(TraitsOf(key.spec).name) +
                    " which is not valid for this operation."};
      return RequireEnabled(account, key, now);
    case StateRule::kImport:
      if (!external) return UnsupportedOrigin(account, key);
      return deleting ? RequireEnabled(account, key, now) : OkStatus();
    case StateRule::kDeleteImport:
      return external ? OkStatus() : UnsupportedOrigin(account, key);
    case StateRule::kCancel:
      if (deleting) return OkStatus();
      return {Error::kInvalidState,
              KeyArn(account, key.id) + " is not pending deletion."};
  }
  return OkStatus();
}

}  // namespace keyfold
