// Blobs: ciphertext that was changed in any way is refused, by Decrypt and ReEncrypt.
//
// An input is a mode, then bytes that are a blob themselves (even mode) or changes to a
// good one.
#include "tests/fuzz/FuzzKms.h"

using namespace keyfold;
using nlohmann::json;

// Bytes; botocore's model: 6144.
constexpr size_t kLongestBlob = 6144;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FuzzKms& fuzz = *new FuzzKms();
  static const std::string good_text =
      fuzz.Must(FuzzKms::kCfo, "kms", "Encrypt",
                {{"KeyId", "alias/a"}, {"Plaintext", "AAAA"}})["CiphertextBlob"];
  static const Bytes good = FromBase64(good_text).value();
  if (size < 1) return 0;
  const ByteView rest(data + 1, size - 1);
  const Bytes blob =
      data[0] % 2 == 0 ? Bytes(rest.begin(), rest.end()) : Edited(good, rest);
  const std::string text = ToBase64(blob);
  const auto opened =
      fuzz.Call(FuzzKms::kCfo, "kms", "Decrypt", {{"CiphertextBlob", text}});
  Promise(opened.ok() == (blob == good), "only the unchanged blob opens");
  if (!opened.ok())
    Promise(opened.status().error() == Error::kInvalidCiphertext ||
                opened.status().error() == Error::kAccessDenied ||
                (opened.status().error() == Error::kValidation &&
                 (blob.empty() || blob.size() > kLongestBlob)),
            "a changed blob is an invalid ciphertext");
  const auto moved =
      fuzz.Call(FuzzKms::kCfo, "kms", "ReEncrypt",
                {{"CiphertextBlob", text}, {"DestinationKeyId", "alias/a"}});
  Promise(moved.ok() == (blob == good), "only the unchanged blob is encrypted anew");
  return 0;
}
