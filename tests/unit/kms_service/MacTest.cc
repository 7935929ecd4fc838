// Do HMAC keys make and check MACs, of their own algorithm, and nothing else?
#include "KmsFixture.h"
#include "kms/service/Invocation.h"

namespace keyfold {
namespace {

constexpr char kUsage[] = "InvalidKeyUsageException";

struct MacSpec {
  const char *spec, *algorithm, *digest;
  size_t size;  // of the material, bytes
};

class MacTest : public KmsTest {
 protected:
  static constexpr MacSpec kSpecs[] = {{"HMAC_224", "HMAC_SHA_224", "SHA224", 28},
                                       {"HMAC_256", "HMAC_SHA_256", "SHA256", 32},
                                       {"HMAC_384", "HMAC_SHA_384", "SHA384", 48},
                                       {"HMAC_512", "HMAC_SHA_512", "SHA512", 64}};

  json Asked(const std::string& key, const char* algorithm = "HMAC_SHA_256") {
    return {{"KeyId", key}, {"Message", "aGk="}, {"MacAlgorithm", algorithm}};
  }
  std::string Shell(const std::string& command) {
    EXPECT_EQ(system(("cd " + folder_ + " && " + command + " > out").c_str()), 0)
        << command;
    std::ifstream in(folder_ + "/out", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // Imports `size` bytes of the file "material", wrapped by the openssl program.
  std::string Import(const std::string& key, size_t size) {
    const json p = Must(kCfo, "GetParametersForImport",
                        {{"KeyId", key},
                         {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                         {"WrappingKeySpec", "RSA_2048"}});
    const Bytes der = *FromBase64(p["PublicKey"].get<std::string>());
    std::ofstream(folder_ + "/pub.der", std::ios::binary)
        .write(reinterpret_cast<const char*>(der.data()),
               static_cast<std::streamsize>(der.size()));
    const std::string wrapped =
        Shell("head -c " + std::to_string(size) +
              " /dev/urandom > material && openssl pkeyutl -encrypt -in material -pubin"
              " -inkey pub.der -keyform DER -pkeyopt rsa_padding_mode:oaep -pkeyopt"
              " rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256");
    return Try(kCfo, "ImportKeyMaterial",
               {{"KeyId", key},
                {"ImportToken", p["ImportToken"]},
                {"EncryptedKeyMaterial", ToBase64(AsBytes(wrapped))},
                {"ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE"}});
  }
};

TEST_F(MacTest, EverySpecMakesWhatItChecksAndNothingElse) {
  for (const MacSpec& spec : kSpecs) {
    const std::string key = MakeKey("AWS_KMS", spec.spec);
    const json shown = Must(kCfo, "DescribeKey", {{"KeyId", key}})["KeyMetadata"];
    EXPECT_EQ(shown["KeySpec"], spec.spec);
    EXPECT_EQ(shown["CustomerMasterKeySpec"], spec.spec);
    EXPECT_EQ(shown["KeyUsage"], "GENERATE_VERIFY_MAC");
    EXPECT_EQ(shown["MacAlgorithms"], json::array({spec.algorithm}));
    EXPECT_FALSE(shown.contains("EncryptionAlgorithms"));
    json check = Asked(key, spec.algorithm);
    const json made = Must(kCfo, "GenerateMac", check);
    EXPECT_EQ(made["MacAlgorithm"], spec.algorithm);
    EXPECT_EQ(made["KeyId"], KeyArn(account_, key));
    // Stores are closed and opened with their specs.
    ASSERT_TRUE(Reopen().ok());
    EXPECT_EQ(Must(kCfo, "GenerateMac", check)["Mac"], made["Mac"]);
    check["Mac"] = made["Mac"];
    EXPECT_EQ(Must(kCfo, "VerifyMac", check)["MacValid"], true);
    Bytes mac = *FromBase64(made["Mac"].get<std::string>());
    for (size_t i = 0; i < mac.size(); ++i) {
      mac[i] ^= 1;
      check["Mac"] = ToBase64(mac);
      EXPECT_EQ(Try(kCfo, "VerifyMac", check), "KMSInvalidMacException") << i;
      mac[i] ^= 1;
    }
    check["Mac"] = ToBase64(ByteView(mac).first(mac.size() - 1));
    EXPECT_EQ(Try(kCfo, "VerifyMac", check), "KMSInvalidMacException");
    check["Mac"] = made["Mac"];
    check["Message"] = "aG8=";
    EXPECT_EQ(Try(kCfo, "VerifyMac", check), "KMSInvalidMacException");
    for (const MacSpec& other : kSpecs) {
      const bool own = other.size == spec.size;
      EXPECT_EQ(Try(kCfo, "GenerateMac", Asked(key, other.algorithm)),
                own ? "ok" : kUsage);
    }
  }
}

TEST_F(MacTest, ImportedMaterialOfTheRightSizeMakesTheMacsOpensslMakes) {
  for (const MacSpec& spec : kSpecs) {
    const std::string key = MakeKey("EXTERNAL", spec.spec);
    for (size_t wrong : {spec.size - 1, spec.size + 1})
      EXPECT_EQ(Import(key, wrong), "InvalidCiphertextException") << wrong;
    ASSERT_EQ(Import(key, spec.size), "ok");
    const json made = Must(kCfo, "GenerateMac", Asked(key, spec.algorithm));
    const std::string theirs =
        Shell(std::string("printf hi | openssl mac -binary -digest ") + spec.digest +
              " -macopt hexkey:$(od -An -v -tx1 material | tr -d ' \\n') HMAC");
    EXPECT_EQ(made["Mac"], ToBase64(AsBytes(theirs))) << spec.spec;
  }
}

TEST_F(MacTest, KeysServeTheirOwnUsageAlone) {
  const std::string macs = MakeKey("AWS_KMS", "HMAC_256"), other = MakeKey();
  const json blob = Must(kCfo, "Encrypt", {{"KeyId", other}, {"Plaintext", "aGk="}});
  EXPECT_EQ(Try(kCfo, "Encrypt", {{"KeyId", macs}, {"Plaintext", "aGk="}}), kUsage);
  EXPECT_EQ(Try(kCfo, "Decrypt",
                {{"KeyId", macs}, {"CiphertextBlob", blob["CiphertextBlob"]}}),
            kUsage);
  EXPECT_EQ(
      Try(kCfo, "ReEncrypt",
          {{"DestinationKeyId", macs}, {"CiphertextBlob", blob["CiphertextBlob"]}}),
      kUsage);
  for (const char* operation : {"GenerateDataKey", "GenerateDataKeyWithoutPlaintext"})
    EXPECT_EQ(Try(kCfo, operation, {{"KeyId", macs}, {"KeySpec", "AES_256"}}), kUsage);
  for (const char* operation :
       {"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"})
    EXPECT_EQ(Try(kCfo, operation, {{"KeyId", macs}, {"KeyPairSpec", "ECC_NIST_P256"}}),
              kUsage);
  json asked = Asked(other);
  EXPECT_EQ(Try(kCfo, "GenerateMac", asked), kUsage);
  asked["Mac"] = "aGk=";
  EXPECT_EQ(Try(kCfo, "VerifyMac", asked), kUsage);
}

TEST_F(MacTest, TheFilesystemGetsNothingFromThem) {
  const std::string key = MakeKey("AWS_KMS", "HMAC_256");
  // Its policy allows the use, so that only the usage stands against it.
  const FileEvent event{"SetFolderKey", "/reports", KeyUse::kWrite};
  EXPECT_EQ(kms_->Authorize(By(kCfo), key, {}, event).error(), Error::kInvalidKeyUsage);
  EXPECT_EQ(LastRecord()["errorCode"], kUsage);
  EXPECT_EQ(kms_->GenerateDataKey(By(kCfo), key, {}, "").status().error(),
            Error::kInvalidKeyUsage);
}

TEST_F(MacTest, AnAliasStaysWithItsUsage) {
  const std::string macs = MakeKey("AWS_KMS", "HMAC_256"), other = MakeKey();
  Must(kCfo, "CreateAlias", {{"AliasName", "alias/a"}, {"TargetKeyId", other}});
  EXPECT_EQ(Try(kCfo, "UpdateAlias", {{"AliasName", "alias/a"}, {"TargetKeyId", macs}}),
            "ValidationException");
  const std::string more = MakeKey("AWS_KMS", "HMAC_512");
  Must(kCfo, "CreateAlias", {{"AliasName", "alias/m"}, {"TargetKeyId", macs}});
  EXPECT_EQ(Try(kCfo, "UpdateAlias", {{"AliasName", "alias/m"}, {"TargetKeyId", more}}),
            "ok");
}

TEST_F(MacTest, GrantsGiveWhatTheKeyCanDo) {
  const std::string macs = MakeKey("AWS_KMS", "HMAC_256"), other = MakeKey();
  json grant = {{"KeyId", macs},
                {"GranteePrincipal", "user:uid:60004"},
                {"Operations", {"GenerateMac"}}};
  EXPECT_EQ(Try(kNobody, "GenerateMac", Asked(macs)), "AccessDeniedException");
  Must(kCfo, "CreateGrant", grant);
  json check = Asked(macs);
  check["Mac"] = Must(kNobody, "GenerateMac", Asked(macs))["Mac"];
  EXPECT_EQ(Try(kNobody, "VerifyMac", check), "AccessDeniedException");
  grant["Operations"] = {"VerifyMac"};
  Must(kCfo, "CreateGrant", grant);
  EXPECT_EQ(Try(kNobody, "VerifyMac", check), "ok");
  grant["Constraints"] = {{"EncryptionContextSubset", {{"a", "b"}}}};
  EXPECT_EQ(Try(kCfo, "CreateGrant", grant), "ValidationException");
  grant.erase("Constraints");
  for (const char* wrong : {"Encrypt", "Sign", "GetPublicKey", "Fly"}) {
    grant["Operations"] = {wrong};
    EXPECT_EQ(Try(kCfo, "CreateGrant", grant), "ValidationException") << wrong;
  }
  grant["KeyId"] = other;
  grant["Operations"] = {"GenerateMac"};
  EXPECT_EQ(Try(kCfo, "CreateGrant", grant), "ValidationException");
}

TEST_F(MacTest, ADryRunTellsWhatWouldHappen) {
  json asked = Asked(MakeKey("AWS_KMS", "HMAC_256"));
  const json mac = Must(kCfo, "GenerateMac", asked)["Mac"];
  asked["DryRun"] = true;
  EXPECT_EQ(Try(kCfo, "GenerateMac", asked), "DryRunOperationException");
  EXPECT_EQ(Try(kNobody, "GenerateMac", asked), "AccessDeniedException");
  asked["Mac"] = mac;
  EXPECT_EQ(Try(kCfo, "VerifyMac", asked), "DryRunOperationException");
  asked["Mac"] = "aGk=";
  EXPECT_EQ(Try(kCfo, "VerifyMac", asked), "KMSInvalidMacException");
}

TEST_F(MacTest, WhatIsNotBuiltIsRefusedAndWhatIsUnknownIsInvalid) {
  const auto create = [&](const json& request) {
    return Try(kCfo, "CreateKey", request);
  };
  for (const char* spec : {"RSA_2048", "ECC_NIST_P256", "SM2", "ML_DSA_65"})
    EXPECT_EQ(create({{"KeySpec", spec}, {"KeyUsage", "SIGN_VERIFY"}}),
              "UnsupportedOperationException");
  for (const json& request :
       {json{{"MultiRegion", true}}, json{{"CustomKeyStoreId", "cks-1"}},
        json{{"XksKeyId", "x"}}, json{{"Origin", "AWS_CLOUDHSM"}},
        json{{"Origin", "EXTERNAL_KEY_STORE"}}})
    EXPECT_EQ(create(request), "UnsupportedOperationException") << request;
  for (const json& request : {json{{"KeySpec", "HMAC_128"}}, json{{"KeyUsage", "FLY"}},
                              json{{"Origin", "MOON"}}, json{{"KeySpec", "HMAC_256"}},
                              json{{"KeyUsage", "GENERATE_VERIFY_MAC"}},
                              json{{"KeySpec", "SYMMETRIC_DEFAULT"},
                                   {"CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"}}})
    EXPECT_EQ(create(request), "ValidationException") << request;
  EXPECT_EQ(create({{"CustomerMasterKeySpec", "HMAC_384"},
                    {"KeyUsage", "GENERATE_VERIFY_MAC"}}),
            "ok");
}

}  // namespace
}  // namespace keyfold
