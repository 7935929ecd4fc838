// The operations of the KMS, one function each. Every one gets a call whose
// parameters fit the schema; where the dispatch table says so the key is found,
// the caller authorized and the key's state checked before. They answer with
// the shape of the AWS KMS API and leave changes in call.change.
#pragma once

#include "kms/service/Invocation.h"

namespace keyfold {

using Answer = Result<nlohmann::json>;

// What asks for records of all users needs this action.
inline constexpr char kLookup[] = "cloudtrail:LookupEvents";

// Keys.cc
Answer CreateKey(Invocation& call);
Answer DescribeKey(Invocation& call);
Answer ListKeys(Invocation& call);
Answer UpdateKeyDescription(Invocation& call);
Answer TagResource(Invocation& call);
Answer UntagResource(Invocation& call);
Answer ListResourceTags(Invocation& call);
// MakeKey is a new key with a first version of random material, unless EXTERNAL.
KeyRecord MakeKey(KeySpec spec, Origin origin, KeyManager manager, TimePoint now);

// Aliases.cc
Answer CreateAlias(Invocation& call);
Answer UpdateAlias(Invocation& call);
Answer DeleteAlias(Invocation& call);
Answer ListAliases(Invocation& call);

// Lifecycle.cc
Answer EnableKey(Invocation& call);
Answer DisableKey(Invocation& call);
Answer ScheduleKeyDeletion(Invocation& call);
Answer CancelKeyDeletion(Invocation& call);

// Rotation.cc
Answer EnableKeyRotation(Invocation& call);
Answer DisableKeyRotation(Invocation& call);
Answer GetKeyRotationStatus(Invocation& call);
Answer ListKeyRotations(Invocation& call);
Answer RotateKeyOnDemand(Invocation& call);
// AddVersion gives the key new random material; the old versions stay.
void AddVersion(const RootSecrets& secrets, KeyRecord& key, const char* rotation,
                TimePoint now);

// Policies.cc
Answer GetKeyPolicy(Invocation& call);
Answer PutKeyPolicy(Invocation& call);
Answer ListKeyPolicies(Invocation& call);
// ApplyPolicy parses `text` into `key`; kMalformedPolicyDocument also when the
// caller could not change the policy again and did not ask to bypass the check.
Status ApplyPolicy(const Invocation& call, KeyRecord& key, const std::string& text);
// The policy of a key created without one, and that of alias/aws/fs.
std::string DefaultPolicy(const std::string& account, const std::string& creator_arn);
std::string ServiceKeyPolicy(const std::string& account);

// Grants.cc
Answer CreateGrant(Invocation& call);
Answer ListGrants(Invocation& call);
Answer ListRetirableGrants(Invocation& call);
Answer RevokeGrant(Invocation& call);
Answer RetireGrant(Invocation& call);
// CheckGrantTokens is kInvalidGrantToken unless the GrantTokens of a call, if it has
// any, could be of grants.
Status CheckGrantTokens(const Parameters& parameters);

// Cryptographic.cc
Answer Encrypt(Invocation& call);
Answer Decrypt(Invocation& call);
Answer ReEncrypt(Invocation& call);
Answer GenerateDataKey(Invocation& call);
Answer GenerateDataKeyWithoutPlaintext(Invocation& call);
Answer GenerateRandom(Invocation& call);

// KeyPairs.cc
Answer GenerateDataKeyPair(Invocation& call);
Answer GenerateDataKeyPairWithoutPlaintext(Invocation& call);

// Macs.cc
Answer GenerateMac(Invocation& call);
Answer VerifyMac(Invocation& call);

// Import.cc
Status MakeImportKey(Invocation& call);
Answer GetParametersForImport(Invocation& call);
Answer ImportKeyMaterial(Invocation& call);
Answer DeleteImportedKeyMaterial(Invocation& call);

// Iam.cc
Answer GetIam(Invocation& call);
// PrepareIam reads the document, and refuses who may not make its changes.
Status PrepareIam(Invocation& call);
Answer ApplyIam(Invocation& call);
Answer WhoAmI(Invocation& call);
Answer Simulate(Invocation& call);

// AccessKeys.cc
Answer CreateAccessKey(Invocation& call);
Answer ListAccessKeys(Invocation& call);
Answer UpdateAccessKey(Invocation& call);
Answer DeleteAccessKey(Invocation& call);

// Sessions.cc
Answer AssumeRole(Invocation& call);

// Alerting.cc
Answer GetAlertRules(Invocation& call);
Answer ApplyAlertRules(Invocation& call);
Answer TestAlertRules(Invocation& call);
Answer DescribeCompliance(Invocation& call);

// Auditing.cc
Answer LookupEvents(Invocation& call);
Answer VerifyLog(Invocation& call);
Answer ListPublicKeys(Invocation& call);
Answer ArchiveLog(Invocation& call);
Answer ReleaseLog(Invocation& call);
Answer ListArchives(Invocation& call);
Answer GetStatus(Invocation& call);
Answer GetActivity(Invocation& call);  // Watching.cc
Answer BackupKeyStore(Invocation& call);
Answer RecordStoreChange(Invocation& call);

}  // namespace keyfold
