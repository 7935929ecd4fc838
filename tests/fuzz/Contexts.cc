// Contexts: a ciphertext opens under its own encryption context and no other, whatever
// bytes names and values hold.
//
// An input is pairs of lines, name and value; the context to open with follows an
// empty line.
#include "tests/fuzz/FuzzKms.h"

using namespace keyfold;
using nlohmann::json;

namespace {

json TakeContext(std::string_view& text) {
  json context = json::object();
  while (!text.empty()) {
    const std::string name(TakeLine(text));
    if (name.empty()) break;
    context[name] = std::string(TakeLine(text));
  }
  return context;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FuzzKms& fuzz = *new FuzzKms();
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const json sealed_with = TakeContext(text), opened_with = TakeContext(text);
  const auto sealed = fuzz.Call(FuzzKms::kCfo, "kms", "Encrypt",
                                {{"KeyId", "alias/a"},
                                 {"Plaintext", "AAAA"},
                                 {"EncryptionContext", sealed_with}});
  if (!sealed.ok()) {
    Promise(sealed.status().error() == Error::kValidation, "a bad context is named");
    return 0;
  }
  const auto open = [&](const json& context) {
    return fuzz.Call(FuzzKms::kCfo, "kms", "Decrypt",
                     {{"CiphertextBlob", (*sealed)["CiphertextBlob"]},
                      {"EncryptionContext", context}});
  };
  Promise(open(sealed_with).ok(), "a ciphertext opens under its context");
  Promise(open(opened_with).ok() == (sealed_with == opened_with),
          "a ciphertext opens under no other context");
  return 0;
}
