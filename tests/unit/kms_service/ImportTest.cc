// Does key material that the plain openssl program wrapped come in, once, into
// the key it was meant for, and never other material than the first?
#include "ImportFixture.h"

namespace keyfold {
namespace {

class ImportTest : public ImportFixture {};

TEST_F(ImportTest, EveryAlgorithmAndSizeWorksWithPlainOpenssl) {
  for (const Wrap& wrap : {kSha1, kSha256, Wrap{"RSA_AES_KEY_WRAP_SHA_1", "sha1", true},
                           Wrap{"RSA_AES_KEY_WRAP_SHA_256", "sha256", true}})
    for (const char* spec : {"RSA_2048", "RSA_3072", "RSA_4096"}) {
      NewMaterial();
      const std::string key = MakeKey("EXTERNAL");
      EXPECT_EQ(State(key), "PendingImport");
      const json parameters = Parameters(key, wrap, spec);
      EXPECT_EQ(Try(kCfo, "ImportKeyMaterial",
                    Request(key, parameters, WrapFor(parameters, wrap))),
                "ok")
          << wrap.algorithm << " " << spec;
      EXPECT_EQ(State(key), "Enabled");
    }
}

TEST_F(ImportTest, ATokenServesOneKeyOnce) {
  NewMaterial();
  const std::string a = MakeKey("EXTERNAL"), b = MakeKey("EXTERNAL");
  const json parameters = Parameters(a, kSha256);
  const std::string wrapped = WrapFor(parameters, kSha256);
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", Request(b, parameters, wrapped)),
            "InvalidImportTokenException");
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", Request(a, parameters, wrapped)), "ok");
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", Request(a, parameters, wrapped)),
            "InvalidImportTokenException");
  // The same wrapped bytes with a new token.
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", Request(b, Parameters(b, kSha256), wrapped)),
            "InvalidCiphertextException");
}

TEST_F(ImportTest, TokensAndParametersLastADay) {
  NewMaterial();
  const std::string key = MakeKey("EXTERNAL");
  const json parameters = Parameters(key, kSha256);
  const std::string wrapped = WrapFor(parameters, kSha256);
  clock_.Advance(hours(24));
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", Request(key, parameters, wrapped)),
            "ExpiredImportTokenException");
}

TEST_F(ImportTest, AlteredTokensAndBytesAreRefused) {
  NewMaterial();
  const std::string key = MakeKey("EXTERNAL");
  json parameters = Parameters(key, kSha256);
  const std::string wrapped = WrapFor(parameters, kSha256);
  Bytes token = *FromBase64(parameters["ImportToken"].get<std::string>());
  const json good = parameters["ImportToken"];
  for (size_t i = 0; i < token.size(); ++i) {
    token[i] ^= 1;
    parameters["ImportToken"] = ToBase64(token);
    EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", Request(key, parameters, wrapped)),
              "InvalidImportTokenException");
    token[i] ^= 1;
  }
  parameters["ImportToken"] = good;
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial",
                Request(key, parameters, ToBase64(RandomBytes(256)))),
            "InvalidCiphertextException");
  WriteFile("material", RandomBytes(31));
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial",
                Request(key, parameters, WrapFor(parameters, kSha256))),
            "InvalidCiphertextException");
}

TEST_F(ImportTest, OnlyTheSameMaterialComesBack) {
  NewMaterial();
  const std::string key = MakeKey("EXTERNAL");
  ASSERT_EQ(Import(key), "ok");
  const json blob = Must(kCfo, "Encrypt", {{"KeyId", key}, {"Plaintext", "aGk="}});
  Must(kCfo, "DeleteImportedKeyMaterial", {{"KeyId", key}});
  EXPECT_EQ(State(key), "PendingImport");
  EXPECT_EQ(Try(kCfo, "Decrypt", {{"CiphertextBlob", blob["CiphertextBlob"]}}),
            "KMSInvalidStateException");
  const std::string first = ReadFile("material");
  NewMaterial();
  EXPECT_EQ(Import(key), "IncorrectKeyMaterialException");
  WriteFile("material", AsBytes(first));
  EXPECT_EQ(Import(key, kSha1), "ok");
  EXPECT_EQ(
      Must(kCfo, "Decrypt", {{"CiphertextBlob", blob["CiphertextBlob"]}})["Plaintext"],
      "aGk=");
}

TEST_F(ImportTest, MaterialExpires) {
  NewMaterial();
  const std::string key = MakeKey("EXTERNAL");
  const json parameters = Parameters(key, kSha256);
  json request = Request(key, parameters, WrapFor(parameters, kSha256));
  request.erase("ExpirationModel");
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", request), "ValidationException");
  const double now = 1767225600;
  request["ValidTo"] = now - 1;
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", request), "ValidationException");
  request["ValidTo"] = now + 3600;
  EXPECT_EQ(Try(kCfo, "ImportKeyMaterial", request), "ok");
  clock_.Advance(std::chrono::minutes(59));
  EXPECT_EQ(State(key), "Enabled");
  clock_.Advance(std::chrono::minutes(1));
  EXPECT_EQ(State(key), "PendingImport");
  ASSERT_TRUE(kms_->Tick().ok());
  EXPECT_EQ(State(key), "PendingImport");
  EXPECT_EQ(Import(key), "ok");
  EXPECT_EQ(State(key), "Enabled");
}

TEST_F(ImportTest, CancelledDeletionOfAKeyWithoutMaterialIsPendingImport) {
  const std::string key = MakeKey("EXTERNAL");
  Must(kCfo, "ScheduleKeyDeletion", {{"KeyId", key}});
  Must(kCfo, "CancelKeyDeletion", {{"KeyId", key}});
  EXPECT_EQ(State(key), "PendingImport");
}

TEST_F(ImportTest, MaterialStandsInNoFile) {
  NewMaterial();
  const std::string key = MakeKey("EXTERNAL");
  ASSERT_EQ(Import(key), "ok");
  const std::string material = ReadFile("material");
  for (const char* name : {"keys.db", "audit.log"}) {
    const std::string text = ReadFile(name);
    EXPECT_EQ(text.find(material), std::string::npos) << name;
    EXPECT_EQ(text.find(ToBase64(AsBytes(material))), std::string::npos) << name;
    EXPECT_EQ(text.find(ToHex(AsBytes(material))), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace keyfold
