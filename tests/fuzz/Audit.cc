// Audit: lines of the log that were changed never authenticate, and what does is
// filtered without harm, whatever members a record has.
//
// An input is one record's members, as they stand between the braces.
#include "kms/audit/AuditChain.h"
#include "kms/audit/AuditRecord.h"
#include "kms/crypto/Crypto.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const SecretBytes& key = *new SecretBytes(RandomSecret(kKeySize));
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // As it stands: nothing has its MAC.
  Promise(!ParseRecord(key, text).has_value(), "a foreign line does not authenticate");

  JsonText members;
  members.AddMembers(text);
  const auto line = FormatRecord(key, members);
  if (!line.ok()) return 0;
  const auto record = ParseRecord(key, *line);
  if (record)
    for (const char* word : {"", "cfo", "1234abcd-12ab-34cd-56ef-1234567890ab"}) {
      AuditFilter filter;
      filter.since = word[0] == '\0' ? "2026" : "";
      filter.user = filter.key = word;
      filter.before_sequence = 5;
      (void)Selects(filter, *record);
    }
  std::string changed = *line;
  for (size_t at : {size_t{0}, changed.size() / 2, changed.size() - 1}) {
    changed[at] = static_cast<char>(changed[at] ^ 1);
    Promise(!ParseRecord(key, changed).has_value(), "a changed line does not pass");
    changed[at] = static_cast<char>(changed[at] ^ 1);
  }
  return 0;
}
