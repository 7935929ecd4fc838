// What imports key material into a key, wrapped by the plain openssl program.
#pragma once

#include "KmsFixture.h"

namespace keyfold {

struct Wrap {
  const char* algorithm;
  const char* digest;
  bool aes;
};

class ImportFixture : public KmsTest {
 protected:
  static constexpr char kNew[] = "NEW_KEY_MATERIAL";
  static constexpr Wrap kSha1{"RSAES_OAEP_SHA_1", "sha1", false};
  static constexpr Wrap kSha256{"RSAES_OAEP_SHA_256", "sha256", false};

  std::string Path(const char* name) { return folder_ + "/" + name; }
  void WriteFile(const char* name, ByteView bytes) {
    std::ofstream(Path(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  std::string ReadFile(const char* name) {
    std::ifstream in(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Shell(const std::string& command) {
    ASSERT_EQ(system(("cd " + folder_ + " && " + command).c_str()), 0) << command;
  }

  json Parameters(const std::string& key, const Wrap& wrap,
                  const char* spec = "RSA_2048") {
    return Must(kCfo, "GetParametersForImport",
                {{"KeyId", key},
                 {"WrappingAlgorithm", wrap.algorithm},
                 {"WrappingKeySpec", spec}});
  }
  // Wraps the file "material" with the plain openssl program.
  std::string WrapFor(const json& parameters, const Wrap& wrap) {
    const Bytes der = *FromBase64(parameters["PublicKey"].get<std::string>());
    WriteFile("pub.der", der);
    const std::string oaep =
        std::string(
            " -pubin -inkey pub.der -keyform DER -pkeyopt rsa_padding_mode:oaep"
            " -pkeyopt rsa_oaep_md:") +
        wrap.digest + " -pkeyopt rsa_mgf1_md:" + wrap.digest;
    if (!wrap.aes) {
      Shell("openssl pkeyutl -encrypt -in material -out wrapped" + oaep);
    } else {
      Shell(
          "head -c 32 /dev/urandom > aes && openssl pkeyutl -encrypt -in aes -out w1" +
          oaep +
          " && openssl enc -id-aes256-wrap-pad -iv A65959A6 -K $(od -An -tx1 aes | tr "
          "-d ' \\n')"
          " -in material -out w2 && cat w1 w2 > wrapped");
    }
    return ToBase64(AsBytes(ReadFile("wrapped")));
  }
  json Request(const std::string& key, const json& parameters,
               const std::string& wrapped) {
    return {{"KeyId", key},
            {"ImportToken", parameters["ImportToken"]},
            {"EncryptedKeyMaterial", wrapped},
            {"ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE"}};
  }
  std::string Import(const std::string& key, const Wrap& wrap = kSha256,
                     const json& more = json::object()) {
    return Try(kCfo, "ImportKeyMaterial", WrappedRequest(key, wrap, more));
  }
  // A request to import the file "material", with a token of its own.
  json WrappedRequest(const std::string& key, const Wrap& wrap = kSha256,
                      const json& more = json::object()) {
    const json parameters = Parameters(key, wrap);
    json request = Request(key, parameters, WrapFor(parameters, wrap));
    request.update(more);
    return request;
  }
  void NewMaterial(size_t size = 32) { WriteFile("material", RandomBytes(size)); }

  // Makes an EXTERNAL key with material, kept as the file "first".
  std::string Imported() {
    const std::string key = MakeKey("EXTERNAL");
    NewMaterial();
    EXPECT_EQ(Import(key), "ok");
    Shell("cp material first");
    return key;
  }
  // ImportNew lets other material wait, kept as the file `name`; the answer.
  json ImportNew(const std::string& key, const char* name) {
    NewMaterial();
    Shell(std::string("cp material ") + name);
    return Must(kCfo, "ImportKeyMaterial",
                WrappedRequest(key, kSha256, {{"ImportType", kNew}}));
  }
  std::string ImportFrom(const char* name, const std::string& key,
                         const json& more = json::object()) {
    Shell(std::string("cp ") + name + " material");
    return Import(key, kSha256, more);
  }
  json Materials(const std::string& key) {
    return Must(
        kCfo, "ListKeyRotations",
        {{"KeyId", key}, {"IncludeKeyMaterial", "ALL_KEY_MATERIAL"}})["Rotations"];
  }
  std::string Current(const std::string& key) {
    return Must(kCfo, "DescribeKey", {{"KeyId", key}})["KeyMetadata"].value(
        "CurrentKeyMaterialId", "");
  }
  json Encrypted(const std::string& key) {
    return Must(kCfo, "Encrypt",
                {{"KeyId", key}, {"Plaintext", "aGk="}})["CiphertextBlob"];
  }
  json Decrypted(const json& blob) {
    return Must(kCfo, "Decrypt", {{"CiphertextBlob", blob}});
  }
  std::string Rotate(const std::string& key) {
    return Try(kCfo, "RotateKeyOnDemand", {{"KeyId", key}});
  }
};

}  // namespace keyfold
