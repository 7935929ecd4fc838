// Imports: no token but the one given, and no bytes that the wrapping key did not wrap,
// become key material.
//
// An input is a number of bytes u8, that many bytes of changes to the good token, and
// what stands for the wrapped material.
#include "tests/fuzz/FuzzKms.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FuzzKms& fuzz = *new FuzzKms();
  static const std::string token_text =
      fuzz.Must(FuzzKms::kCfo, "kms", "GetParametersForImport",
                {{"KeyId", "alias/e"},
                 {"WrappingAlgorithm", "RSA_AES_KEY_WRAP_SHA_256"},
                 {"WrappingKeySpec", "RSA_2048"}})["ImportToken"];
  static const Bytes good = FromBase64(token_text).value();
  ByteReader reader(ByteView(data, size));
  const size_t changes = reader.Integer<uint8_t>().value_or(0);
  const ByteView script =
      reader.Take(std::min(changes, reader.remaining())).value_or(ByteView());
  const Bytes token = Edited(good, script);
  const ByteView wrapped = *reader.Take(reader.remaining());
  const auto answer = fuzz.Call(FuzzKms::kCfo, "kms", "ImportKeyMaterial",
                                {{"KeyId", "alias/e"},
                                 {"ImportToken", ToBase64(token)},
                                 {"EncryptedKeyMaterial", ToBase64(wrapped)},
                                 {"ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE"}});
  Promise(!answer.ok(), "nothing is imported");
  const Error error = answer.status().error();
  constexpr size_t kLongest = 6144;  // bytes of either, in botocore's model
  const bool sizes_fit = !token.empty() && token.size() <= kLongest &&
                         !wrapped.empty() && wrapped.size() <= kLongest;
  if (!sizes_fit)
    Promise(error == Error::kValidation, "what has no size of a token is refused");
  else if (token != good)
    Promise(error == Error::kInvalidImportToken, "a changed token is invalid");
  else
    Promise(error == Error::kInvalidCiphertext || error == Error::kValidation,
            "bytes that do not unwrap are an invalid ciphertext");
  return 0;
}
