// Rows: a value of the key store is refused, or is what is written for it again. They
// are authenticated before; that a value has a good MAC is no reason to crash on it.
//
// An input is a line that names the kind of row, and the value as JSON.
#include "kms/service/Records.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;
using nlohmann::json;

namespace {

// Again promises that what was read is written and read as the same.
template <typename Parse>
void Again(const json& body, Parse&& parse) {
  const auto read = parse(body);
  if (!read.ok()) {
    Promise(read.status().error() == Error::kCorrupt ||
                read.status().error() == Error::kMalformedPolicyDocument,
            "a refused row is damage");
    return;
  }
  const json written = ToJson(*read);
  const auto twice = parse(written);
  Promise(twice.ok() && ToJson(*twice) == written, "a row survives being written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view kind = TakeLine(text);
  const json body = json::parse(text, nullptr, false);
  if (body.is_discarded()) return 0;
  const std::string id = "1234abcd-12ab-34cd-56ef-1234567890ab";
  if (kind == "key")
    Again(body, [&](const json& row) { return ParseKey(id, row, "000000000000"); });
  else if (kind == "version")
    Again(body, ParseVersion);
  else if (kind == "alias")
    Again(body, [&](const json& row) { return ParseAlias("alias/a", row); });
  else if (kind == "grant")
    Again(body, [&](const json& row) { return ParseGrant(id, row); });
  else if (kind == "import")
    Again(body, [&](const json& row) { return ParseImport(id, row); });
  else if (kind == "access-key")
    Again(body, [&](const json& row) { return ParseAccessKey(id, row); });
  else if (kind == "digest-key")
    Again(body, ParseDigestKey);
  else if (kind == "activity")
    Again(body, ParseActivity);
  else if (kind == "note")
    (void)ParseNote(body);
  return 0;
}
