// Does every operation answer as AWS's table of key states says, in every state?
#include "ImportFixture.h"
#include "kms/service/Schema.h"

namespace keyfold {
namespace {

constexpr char kOk[] = "ok", kD[] = "DisabledException",
               kS[] = "KMSInvalidStateException",
               kU[] = "UnsupportedOperationException";

struct TableRow {
  const char* operation;
  const char* origin;
  json extra;  // beside the key; "$..." is filled in, see Prepared
  const char* key_parameter;
  const char *enabled, *disabled, *pending_import, *pending_deletion;
  const char* spec = "SYMMETRIC_DEFAULT";
  const char* note = "";  // tells rows of one operation apart
};

class StateTableTest : public ImportFixture,
                       public testing::WithParamInterface<TableRow> {
 protected:
  // What a row's "$name" stands for, made while the key may be used.
  json Prepared(const std::string& name, const std::string& key, const TableRow& row) {
    if (name == "$fresh") return "alias/fresh-" + key;
    if (name == "$alias" || name == "$alias_of_other") {
      const std::string alias = "alias/of-" + key;
      const std::string target = name == "$alias" ? key : MakeKey("AWS_KMS", row.spec);
      Must(kCfo, "CreateAlias", {{"AliasName", alias}, {"TargetKeyId", target}});
      return alias;
    }
    if (name == "$other") return MakeKey();
    if (name == "$blob" || name == "$other_blob")
      return Must(kCfo, "Encrypt",
                  {{"KeyId", name == "$blob" ? key : MakeKey()},
                   {"Plaintext", "aGk="}})["CiphertextBlob"];
    EXPECT_EQ(name, "$grant");
    return Must(kCfo, "CreateGrant",
                {{"KeyId", key},
                 {"GranteePrincipal", "user:uid:60002"},
                 {"RetiringPrincipal", "user:uid:60001"},
                 {"Operations", {"Decrypt"}}})["GrantId"];
  }
  // The row's request on a key that then comes into the state.
  json RequestIn(const std::string& state, const TableRow& row) {
    const bool imports = state == "PendingImport";
    const std::string origin = imports ? "EXTERNAL" : row.origin;
    const std::string key = MakeKey(origin.c_str(), row.spec);
    json request = row.extra;
    if (*row.key_parameter != '\0') request[row.key_parameter] = key;
    bool prepares = false;
    for (const auto& [name, value] : row.extra.items())
      prepares |= value.is_string() && value.get<std::string>().starts_with("$");
    NewMaterial();
    if (origin == "EXTERNAL" && (!imports || prepares)) {
      EXPECT_EQ(Import(key), "ok");
    }
    for (auto& [name, value] : request.items())
      if (value.is_string() && value.get<std::string>().starts_with("$"))
        value = Prepared(value, key, row);
    if (origin == "EXTERNAL" && std::string_view(row.note) == "imports")
      request = WrappedRequest(key);
    if (std::string_view(row.note) == "pending" && !imports) {
      NewMaterial();
      EXPECT_EQ(Import(key, kSha256, {{"ImportType", "NEW_KEY_MATERIAL"}}), "ok");
    }
    if (imports && prepares) Must(kCfo, "DeleteImportedKeyMaterial", {{"KeyId", key}});
    if (state == "Disabled") Must(kCfo, "DisableKey", {{"KeyId", key}});
    if (state == "PendingDeletion") Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", key}});
    EXPECT_EQ(State(key), state);
    return request;
  }
};

TEST_P(StateTableTest, AnswersAsTheTableSays) {
  const TableRow& row = GetParam();
  const std::pair<const char*, const char*> cells[] = {
      {"Enabled", row.enabled},
      {"Disabled", row.disabled},
      {"PendingImport", row.pending_import},
      {"PendingDeletion", row.pending_deletion}};
  for (const auto& [state, expected] : cells)
    EXPECT_EQ(Try(kCfo, row.operation, RequestIn(state, row)), expected)
        << row.operation << " on " << row.origin << " in " << state;
}

const json kNone = json::object();
const json kDataKey = {{"KeySpec", "AES_256"}};
const json kGrant = {{"GranteePrincipal", "user:uid:60002"},
                     {"Operations", {"Decrypt"}}};
const json kImport = {{"WrappingAlgorithm", "RSAES_OAEP_SHA_1"},
                      {"WrappingKeySpec", "RSA_2048"}};

// Replaced by a real one where the key takes any.
const json kNoImport = {{"ImportToken", "aGk="}, {"EncryptedKeyMaterial", "aGk="}};
const char kSymmetric[] = "SYMMETRIC_DEFAULT";

const char kHmac[] = "HMAC_256";
const json kKeyPair = {{"KeyPairSpec", "ECC_NIST_P256"}};
const json kMac = {{"Message", "aGk="}, {"MacAlgorithm", "HMAC_SHA_256"}};
const json kCheckMac = {
    {"Message", "aGk="}, {"MacAlgorithm", "HMAC_SHA_256"}, {"Mac", "aGk="}};
const json kMacGrant = {{"GranteePrincipal", "user:uid:60002"},
                        {"Operations", {"GenerateMac", "VerifyMac"}}};

const TableRow kRows[] = {
    TableRow{"Encrypt", "AWS_KMS", {{"Plaintext", "aGk="}}, "KeyId", kOk, kD, kS, kS},
    TableRow{"GenerateDataKey", "AWS_KMS", kDataKey, "KeyId", kOk, kD, kS, kS},
    TableRow{"GenerateDataKeyWithoutPlaintext", "AWS_KMS", kDataKey, "KeyId", kOk, kD,
             kS, kS},
    TableRow{"GenerateDataKeyPair", "AWS_KMS", kKeyPair, "KeyId", kOk, kD, kS, kS},
    TableRow{"GenerateDataKeyPairWithoutPlaintext", "AWS_KMS", kKeyPair, "KeyId", kOk,
             kD, kS, kS},
    TableRow{"GenerateMac", "AWS_KMS", kMac, "KeyId", kOk, kD, kS, kS, kHmac},
    // A wrong MAC is found out only where the key may be used.
    TableRow{"VerifyMac", "AWS_KMS", kCheckMac, "KeyId", "KMSInvalidMacException", kD,
             kS, kS, kHmac},
    TableRow{"CreateGrant", "AWS_KMS", kMacGrant, "KeyId", kOk, kD, kS, kS, kHmac},
    TableRow{"EnableKeyRotation", "AWS_KMS", kNone, "KeyId", kU, kU, kU, kU, kHmac},
    TableRow{"DisableKeyRotation", "AWS_KMS", kNone, "KeyId", kU, kU, kU, kU, kHmac},
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
             {{"Policy",
               R"({"Statement": [{"Effect": "Allow",
                 "Principal": "*", "Action": "kms:*", "Resource": "*"}]})"}},
             "KeyId",
             kOk,
             kOk,
             kOk,
             kOk},
    TableRow{"CreateGrant", "AWS_KMS", kGrant, "KeyId", kOk, kD, kS, kS},
    TableRow{"CreateAlias",
             "AWS_KMS",
             {{"AliasName", "$fresh"}},
             "TargetKeyId",
             kOk,
             kOk,
             kOk,
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
    TableRow{
        "UntagResource", "AWS_KMS", {{"TagKeys", {"a"}}}, "KeyId", kOk, kOk, kOk, kS},
    TableRow{"EnableKey", "AWS_KMS", kNone, "KeyId", kOk, kOk, kS, kS},
    TableRow{"DisableKey", "AWS_KMS", kNone, "KeyId", kOk, kOk, kS, kS},
    TableRow{"EnableKeyRotation", "AWS_KMS", kNone, "KeyId", kOk, kD, kU, kS},
    TableRow{"DisableKeyRotation", "AWS_KMS", kNone, "KeyId", kOk, kD, kU, kS},
    TableRow{"RotateKeyOnDemand", "AWS_KMS", kNone, "KeyId", kOk, kD, kS, kS},
    TableRow{"RotateKeyOnDemand", "EXTERNAL", kNone, "KeyId", kS, kD, kS, kS},
    TableRow{"RotateKeyOnDemand", "EXTERNAL", kNone, "KeyId", kOk, kD, kS, kS,
             kSymmetric, "pending"},
    TableRow{"EnableKey", "EXTERNAL", kNone, "KeyId", kOk, kOk, kS, kS},
    TableRow{"DisableKey", "EXTERNAL", kNone, "KeyId", kOk, kOk, kS, kS},
    TableRow{"ScheduleKeyDeletion", "EXTERNAL", kNone, "KeyId", kOk, kOk, kOk, kS},
    TableRow{"CancelKeyDeletion", "EXTERNAL", kNone, "KeyId", kS, kS, kS, kOk},
    TableRow{"Decrypt", "AWS_KMS", {{"CiphertextBlob", "$blob"}}, "", kOk, kD, kS, kS},
    TableRow{"ReEncrypt",
             "AWS_KMS",
             {{"CiphertextBlob", "$blob"}, {"DestinationKeyId", "$other"}},
             "",
             kOk,
             kD,
             kS,
             kS,
             kSymmetric,
             "from"},
    TableRow{"ReEncrypt",
             "AWS_KMS",
             {{"CiphertextBlob", "$other_blob"}},
             "DestinationKeyId",
             kOk,
             kD,
             kS,
             kS,
             kSymmetric,
             "to"},
    TableRow{
        "RevokeGrant", "AWS_KMS", {{"GrantId", "$grant"}}, "KeyId", kOk, kOk, kOk, kOk},
    TableRow{
        "RetireGrant", "AWS_KMS", {{"GrantId", "$grant"}}, "KeyId", kOk, kOk, kOk, kOk},
    TableRow{"UpdateAlias",
             "AWS_KMS",
             {{"AliasName", "$alias_of_other"}},
             "TargetKeyId",
             kOk,
             kOk,
             kOk,
             kS},
    TableRow{
        "DeleteAlias", "AWS_KMS", {{"AliasName", "$alias"}}, "", kOk, kOk, kOk, kOk},
    TableRow{"ImportKeyMaterial", "AWS_KMS", kNoImport, "KeyId", kU, kU, kOk, kU,
             kSymmetric, "imports"},
    TableRow{"ImportKeyMaterial", "EXTERNAL", kNoImport, "KeyId", kOk, kOk, kOk, kS,
             kSymmetric, "imports"},
    TableRow{"ListKeys", "AWS_KMS", kNone, "", kOk, kOk, kOk, kOk},
    TableRow{"ListRetirableGrants",
             "AWS_KMS",
             {{"RetiringPrincipal", "user:uid:60001"}},
             "",
             kOk,
             kOk,
             kOk,
             kOk},
    TableRow{"EnableKeyRotation", "EXTERNAL", kNone, "KeyId", kU, kU, kU, kU},
    TableRow{"DisableKeyRotation", "EXTERNAL", kNone, "KeyId", kU, kU, kU, kU},
    TableRow{"GetKeyRotationStatus", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
    TableRow{"ListKeyRotations", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kOk},
    TableRow{"GetParametersForImport", "AWS_KMS", kImport, "KeyId", kU, kU, kOk, kU},
    TableRow{"GetParametersForImport", "EXTERNAL", kImport, "KeyId", kOk, kOk, kOk, kS},
    TableRow{"DeleteImportedKeyMaterial", "AWS_KMS", kNone, "KeyId", kU, kU, kOk, kU},
    TableRow{"DeleteImportedKeyMaterial", "EXTERNAL", kNone, "KeyId", kOk, kOk, kOk,
             kOk},
    TableRow{"ScheduleKeyDeletion", "AWS_KMS", kNone, "KeyId", kOk, kOk, kOk, kS},
    TableRow{"CancelKeyDeletion", "AWS_KMS", kNone, "KeyId", kS, kS, kS, kOk}};

INSTANTIATE_TEST_SUITE_P(Table, StateTableTest, testing::ValuesIn(kRows),
                         [](const auto& row) {
                           return std::string(row.param.operation) + "_" +
                                  row.param.origin + "_" + row.param.spec +
                                  row.param.note;
                         });

TEST(StateTable, HasEveryOperationOnAKey) {
  std::set<std::string> all, in_table;
  for (const Operation& operation : Operations())
    if (operation.service == "kms") all.emplace(operation.name);
  all.erase("CreateKey");
  all.erase("GenerateRandom");
  for (const TableRow& row : kRows) in_table.insert(row.operation);
  EXPECT_EQ(in_table, all);
}

}  // namespace
}  // namespace keyfold
