// Does every operation answer as AWS's table of key states says, in every state?
#include "KmsFixture.h"

namespace keyfold {
namespace {

constexpr char kOk[] = "ok", kD[] = "DisabledException",
               kS[] = "KMSInvalidStateException",
               kU[] = "UnsupportedOperationException";

struct TableRow {
  const char* operation;
  const char* origin;
  json extra;  // beside KeyId
  const char* key_parameter;
  const char *enabled, *disabled, *pending_import, *pending_deletion;
  const char* spec = "SYMMETRIC_DEFAULT";
};

class StateTableTest : public KmsTest, public testing::WithParamInterface<TableRow> {
 protected:
  // A key in the state; imported material for origin EXTERNAL.
  std::string KeyIn(const std::string& state, const std::string& origin,
                    const char* spec) {
    const bool external = origin == "EXTERNAL";
    const std::string key = MakeKey(origin.c_str(), spec);
    if (external && state != "PendingImport") {
      // Importing for real is ImportTest's; a wrapped random key suffices here.
      ImportRandom(key);
    }
    if (state == "Disabled") Must(kCfo, "DisableKey", {{"KeyId", key}});
    if (state == "PendingDeletion") Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", key}});
    EXPECT_EQ(State(key), state);
    return key;
  }
  void ImportRandom(const std::string& key) {
    const json p = Must(kCfo, "GetParametersForImport",
                        {{"KeyId", key},
                         {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                         {"WrappingKeySpec", "RSA_2048"}});
    const std::string pub = folder_ + "/pub.der", raw = folder_ + "/raw",
                      out = folder_ + "/wrapped";
    const Bytes der = *FromBase64(p["PublicKey"].get<std::string>());
    std::ofstream(pub, std::ios::binary)
        .write(reinterpret_cast<const char*>(der.data()),
               static_cast<std::streamsize>(der.size()));
    const std::string command =
        "head -c 32 /dev/urandom > " + raw + " && openssl pkeyutl -encrypt -in " + raw +
        " -out " + out + " -pubin -inkey " + pub +
        " -keyform DER -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256"
        " -pkeyopt rsa_mgf1_md:sha256";
    ASSERT_EQ(system(command.c_str()), 0);
    std::ifstream in(out, std::ios::binary);
    const std::string wrapped((std::istreambuf_iterator<char>(in)), {});
    Must(kCfo, "ImportKeyMaterial",
         {{"KeyId", key},
          {"ImportToken", p["ImportToken"]},
          {"EncryptedKeyMaterial", ToBase64(AsBytes(wrapped))},
          {"ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE"}});
  }
};

TEST_P(StateTableTest, AnswersAsTheTableSays) {
  const TableRow& row = GetParam();
  const std::pair<const char*, const char*> cells[] = {
      {"Enabled", row.enabled},
      {"Disabled", row.disabled},
      {"PendingImport", row.pending_import},
      {"PendingDeletion", row.pending_deletion}};
  for (const auto& [state, expected] : cells) {
    if (expected == nullptr) continue;
    const std::string origin =
        std::string(state) == "PendingImport" ? "EXTERNAL" : row.origin;
    const std::string key = KeyIn(state, origin, row.spec);
    json request = row.extra;
    request[row.key_parameter] = key;
    EXPECT_EQ(Try(kCfo, row.operation, request), expected)
        << row.operation << " on " << origin << " in " << state;
  }
}

const json kNone = json::object();
const json kDataKey = {{"KeySpec", "AES_256"}};
const json kGrant = {{"GranteePrincipal", "user:uid:60002"},
                     {"Operations", {"Decrypt"}}};
const json kImport = {{"WrappingAlgorithm", "RSAES_OAEP_SHA_1"},
                      {"WrappingKeySpec", "RSA_2048"}};

const char kHmac[] = "HMAC_256";
const json kKeyPair = {{"KeyPairSpec", "ECC_NIST_P256"}};
const json kMac = {{"Message", "aGk="}, {"MacAlgorithm", "HMAC_SHA_256"}};
const json kCheckMac = {
    {"Message", "aGk="}, {"MacAlgorithm", "HMAC_SHA_256"}, {"Mac", "aGk="}};
const json kMacGrant = {{"GranteePrincipal", "user:uid:60002"},
                        {"Operations", {"GenerateMac", "VerifyMac"}}};

INSTANTIATE_TEST_SUITE_P(
    Table, StateTableTest,
    testing::Values(
        TableRow{
            "Encrypt", "AWS_KMS", {{"Plaintext", "aGk="}}, "KeyId", kOk, kD, kS, kS},
        TableRow{"GenerateDataKey", "AWS_KMS", kDataKey, "KeyId", kOk, kD, kS, kS},
        TableRow{"GenerateDataKeyWithoutPlaintext", "AWS_KMS", kDataKey, "KeyId", kOk,
                 kD, kS, kS},
        TableRow{"GenerateDataKeyPair", "AWS_KMS", kKeyPair, "KeyId", kOk, kD, kS, kS},
        TableRow{"GenerateDataKeyPairWithoutPlaintext", "AWS_KMS", kKeyPair, "KeyId",
                 kOk, kD, kS, kS},
        TableRow{"GenerateMac", "AWS_KMS", kMac, "KeyId", kOk, kD, kS, kS, kHmac},
        // A wrong MAC is found out only where the key may be used.
        TableRow{"VerifyMac", "AWS_KMS", kCheckMac, "KeyId", "KMSInvalidMacException",
                 kD, kS, kS, kHmac},
        TableRow{"CreateGrant", "AWS_KMS", kMacGrant, "KeyId", kOk, kD, kS, kS, kHmac},
        TableRow{"EnableKeyRotation", "AWS_KMS", kNone, "KeyId", kU, kU, kU, kU, kHmac},
        TableRow{"DisableKeyRotation", "AWS_KMS", kNone, "KeyId", kU, kU, kU, kU,
                 kHmac},
        TableRow{"RotateKeyOnDemand", "AWS_KMS", kNone, "KeyId", kU, kU, kU, kU, kHmac},
        TableRow{"GetKeyRotationStatus", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk,
                 kHmac},
        TableRow{"DescribeKey", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
        TableRow{"GetKeyPolicy", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
        TableRow{"ListKeyPolicies", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
        TableRow{"ListGrants", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
        TableRow{"ListResourceTags", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
        TableRow{"ListAliases", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
        TableRow{"PutKeyPolicy",
                 "AWS_KMS",
                 {{"Policy", R"({"Statement": [{"Effect": "Allow",
                 "Principal": "*", "Action": "kms:*", "Resource": "*"}]})"}},
                 "KeyId",
                 kOk,
                 kOk,
                 kOk,
                 kOk},
        TableRow{"CreateGrant", "AWS_KMS", kGrant, "KeyId", kOk, kD, kS, kS},
        TableRow{"CreateAlias",
                 "AWS_KMS",
                 {{"AliasName", "alias/x"}},
                 "TargetKeyId",
                 kOk,
                 "AlreadyExistsException",
                 "AlreadyExistsException",
                 kS},
        TableRow{"UpdateKeyDescription",
                 "AWS_KMS",
                 {{"Description", "d"}},
                 "KeyId",
                 kOk,
                 kOk,
                 kOk,
                 kS},
        TableRow{"TagResource",
                 "AWS_KMS",
                 {{"Tags", {{{"TagKey", "a"}, {"TagValue", "b"}}}}},
                 "KeyId",
                 kOk,
                 kOk,
                 kOk,
                 kS},
        TableRow{"UntagResource",
                 "AWS_KMS",
                 {{"TagKeys", {"a"}}},
                 "KeyId",
                 kOk,
                 kOk,
                 kOk,
                 kS},
        TableRow{"EnableKey", "AWS_KMS", kNone, "KeyId", kOk, kOk, kS, kS},
        TableRow{"DisableKey", "AWS_KMS", kNone, "KeyId", kOk, kOk, kS, kS},
        TableRow{"EnableKeyRotation", "AWS_KMS", kNone, "KeyId", kOk, kD, kU, kS},
        TableRow{"DisableKeyRotation", "AWS_KMS", kNone, "KeyId", kOk, kD, kU, kS},
        TableRow{"RotateKeyOnDemand", "AWS_KMS", kNone, "KeyId", kOk, kD, kU, kS},
        TableRow{"EnableKeyRotation", "EXTERNAL", kNone, "KeyId", kU, kU, kU, kU},
        TableRow{"DisableKeyRotation", "EXTERNAL", kNone, "KeyId", kU, kU, kU, kU},
        TableRow{"GetKeyRotationStatus", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
        TableRow{"ListKeyRotations", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
        TableRow{"GetParametersForImport", "AWS_KMS", kImport, "KeyId", kU, kU, kOk,
                 kU},
        TableRow{"GetParametersForImport", "EXTERNAL", kImport, "KeyId", kOk, kOk, kOk,
                 kS},
        TableRow{"DeleteImportedKeyMaterial", "AWS_KMS", kNone, "KeyId", kU, kU, kOk,
                 kU},
        TableRow{"DeleteImportedKeyMaterial", "EXTERNAL", kNone, "KeyId", kOk, kOk, kOk,
                 kOk},
        TableRow{"ScheduleKeyDeletion", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kS},
        TableRow{"CancelKeyDeletion", "AWS_KMS", kNone, "KeyId", kS, kS, kS, kOk}),
    [](const auto& row) {
      return std::string(row.param.operation) + "_" + row.param.origin + "_" +
             row.param.spec;
    });

}  // namespace
}  // namespace keyfold
