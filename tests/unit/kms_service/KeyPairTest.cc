// Are data key pairs what the openssl program takes them for, and the private half
// wrapped as Encrypt wraps?
#include "KmsFixture.h"
#include "kms/service/Invocation.h"

namespace keyfold {
namespace {

class KeyPairTest : public KmsTest {
 protected:
  void Write(const char* name, const json& base64) {
    const Bytes bytes = *FromBase64(base64.get<std::string>());
    std::ofstream(folder_ + "/" + name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  int Shell(const std::string& command) {
    return system(("cd " + folder_ + " && " + command).c_str());
  }
};

TEST_F(KeyPairTest, OpensslReadsBothHalvesAndTheyBelongTogether) {
  const std::pair<const char*, const char*> specs[] = {
      {"RSA_2048", "2048 bit"},        {"RSA_3072", "3072 bit"},
      {"RSA_4096", "4096 bit"},        {"ECC_NIST_P256", "P-256"},
      {"ECC_NIST_P384", "P-384"},      {"ECC_NIST_P521", "P-521"},
      {"ECC_SECG_P256K1", "secp256k1"}};
  const std::string key = MakeKey();
  const json context = {{"department", "finance"}};
  for (const auto& [spec, shown] : specs) {
    const json made =
        Must(kCfo, "GenerateDataKeyPair",
             {{"KeyId", key}, {"KeyPairSpec", spec}, {"EncryptionContext", context}});
    EXPECT_EQ(made["KeyPairSpec"], spec);
    EXPECT_EQ(made["KeyId"], KeyArn(account_, key));
    Write("private", made["PrivateKeyPlaintext"]);
    Write("public", made["PublicKey"]);
    EXPECT_EQ(Shell("openssl pkcs8 -nocrypt -inform DER -in private -out pem && "
                    "openssl pkey -in pem -check -noout > checked && "
                    "openssl pkey -in pem -pubout -outform DER | cmp - public && "
                    "openssl pkey -in pem -noout -text | grep -q '" +
                    std::string(shown) + "'"),
              0)
        << spec;
    const json opened = Must(kCfo, "Decrypt",
                             {{"CiphertextBlob", made["PrivateKeyCiphertextBlob"]},
                              {"EncryptionContext", context}});
    EXPECT_EQ(opened["Plaintext"], made["PrivateKeyPlaintext"]);
    EXPECT_EQ(
        Try(kCfo, "Decrypt", {{"CiphertextBlob", made["PrivateKeyCiphertextBlob"]}}),
        "InvalidCiphertextException");
  }
}

TEST_F(KeyPairTest, WithoutPlaintextThePrivateHalfIsOnlyWrapped) {
  const std::string key = MakeKey();
  const json made = Must(kCfo, "GenerateDataKeyPairWithoutPlaintext",
                         {{"KeyId", key}, {"KeyPairSpec", "ECC_NIST_P384"}});
  EXPECT_FALSE(made.contains("PrivateKeyPlaintext"));
  const json opened =
      Must(kCfo, "Decrypt", {{"CiphertextBlob", made["PrivateKeyCiphertextBlob"]}});
  Write("private", opened["Plaintext"]);
  Write("public", made["PublicKey"]);
  EXPECT_EQ(Shell("openssl pkey -inform DER -in private -pubout -outform DER | "
                  "cmp - public"),
            0);
}

TEST_F(KeyPairTest, NothingOfItStandsInTheAuditLog) {
  const std::string key = MakeKey();
  const json made = Must(kCfo, "GenerateDataKeyPair",
                         {{"KeyId", key}, {"KeyPairSpec", "ECC_NIST_P256"}});
  const json record = LastRecord();
  EXPECT_EQ(record["eventName"], "GenerateDataKeyPair");
  EXPECT_EQ(record["requestParameters"]["keyPairSpec"], "ECC_NIST_P256");
  std::ifstream log(folder_ + "/audit.log");
  const std::string text((std::istreambuf_iterator<char>(log)), {});
  EXPECT_EQ(text.find(made["PrivateKeyPlaintext"].get<std::string>()),
            std::string::npos);
}

TEST_F(KeyPairTest, WhatIsNotBuiltIsRefused) {
  const std::string key = MakeKey();
  const auto make = [&](const json& extra) {
    json request = {{"KeyId", key}, {"KeyPairSpec", "ECC_NIST_P256"}};
    request.update(extra);
    return Try(kCfo, "GenerateDataKeyPair", request);
  };
  EXPECT_EQ(make({{"KeyPairSpec", "SM2"}}), "UnsupportedOperationException");
  EXPECT_EQ(make({{"KeyPairSpec", "RSA_1024"}}), "ValidationException");
  EXPECT_EQ(make({{"Recipient", json::object()}}), "UnsupportedOperationException");
  EXPECT_EQ(make({{"EncryptionContext", {{"keyfold:file", "x"}}}}),
            "ValidationException");
  EXPECT_EQ(make({{"DryRun", true}}), "DryRunOperationException");
  EXPECT_EQ(Try(kAccounts, "GenerateDataKeyPair",
                {{"KeyId", key}, {"KeyPairSpec", "ECC_NIST_P256"}}),
            "AccessDeniedException");
  const json grant = {{"KeyId", key},
                      {"GranteePrincipal", "user:uid:60002"},
                      {"Operations", {"GenerateDataKeyPair"}}};
  Must(kCfo, "CreateGrant", grant);
  EXPECT_EQ(Try(kAccounts, "GenerateDataKeyPair",
                {{"KeyId", key}, {"KeyPairSpec", "ECC_NIST_P256"}}),
            "ok");
}

}  // namespace
}  // namespace keyfold
