// Are data keys as long as was asked for, and is the wrapped one the same?
#include "KmsFixture.h"

namespace keyfold {
namespace {

class DataKeyTest : public KmsTest {
 protected:
  static Bytes Decoded(const json& text) {
    return *FromBase64(text.get<std::string>());
  }
};

TEST_F(DataKeyTest, HaveTheSizeAskedFor) {
  const std::string key = MakeKey();
  const std::pair<json, size_t> sizes[] = {{{{"KeySpec", "AES_128"}}, 16},
                                           {{{"KeySpec", "AES_256"}}, 32},
                                           {{{"NumberOfBytes", 1}}, 1},
                                           {{{"NumberOfBytes", 24}}, 24},
                                           {{{"NumberOfBytes", 1024}}, 1024}};
  for (const auto& [asked, size] : sizes) {
    json request = asked;
    request["KeyId"] = key;
    const json made = Must(kCfo, "GenerateDataKey", request);
    const Bytes plain = Decoded(made["Plaintext"]);
    EXPECT_EQ(plain.size(), size) << asked;
    EXPECT_EQ(Must(kCfo, "Decrypt",
                   {{"CiphertextBlob", made["CiphertextBlob"]}})["Plaintext"],
              made["Plaintext"]);
    const json wrapped = Must(kCfo, "GenerateDataKeyWithoutPlaintext", request);
    EXPECT_FALSE(wrapped.contains("Plaintext"));
    const Bytes opened = Decoded(Must(
        kCfo, "Decrypt", {{"CiphertextBlob", wrapped["CiphertextBlob"]}})["Plaintext"]);
    EXPECT_EQ(opened.size(), size) << asked;
    if (size > 8) {
      EXPECT_NE(opened, plain) << "each is made anew";
    }
  }
}

TEST_F(DataKeyTest, OneSizeMustBeGiven) {
  const std::string key = MakeKey();
  for (const char* operation : {"GenerateDataKey", "GenerateDataKeyWithoutPlaintext"}) {
    const auto tried = [&](json request) {
      request["KeyId"] = key;
      return Try(kCfo, operation, request);
    };
    EXPECT_EQ(tried(json::object()), "ValidationException");
    EXPECT_EQ(tried({{"KeySpec", "AES_128"}, {"NumberOfBytes", 16}}),
              "ValidationException");
    EXPECT_EQ(tried({{"NumberOfBytes", 0}}), "ValidationException");
    EXPECT_EQ(tried({{"NumberOfBytes", 1025}}), "ValidationException");
    EXPECT_EQ(tried({{"KeySpec", "AES_192"}}), "ValidationException");
  }
}

}  // namespace
}  // namespace keyfold
