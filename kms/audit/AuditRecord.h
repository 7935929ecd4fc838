// AuditRecord: one line of the audit log.
//
// A record is one JSON object whose last member, "mac", is HMAC-SHA-256 over the
// object as it was before that member was added. Must not know: files. Free
// functions, thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "kms/audit/AuditLog.h"
#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

struct ParsedRecord {
  nlohmann::json value;
  uint64_t sequence = 0;
};

// CorruptLog is the kCorrupt of a log that is not as it was written.
inline Status CorruptLog(std::string message) {
  return {Error::kCorrupt, std::move(message)};
}
// FormatRecord makes a record a line, without the newline. kValidation for more than
// kMaxLineSize bytes.
Result<std::string> FormatRecord(const SecretBytes& key, const JsonText& record);
// TextOf renders a tree of values. kInternal for what is no object or nested too deep.
Result<JsonText> TextOf(const nlohmann::json& record);
// ParseRecord is empty unless the line authenticates.
std::optional<ParsedRecord> ParseRecord(const SecretBytes& key, std::string_view line);
// ParseUnchecked is the same without the key: the line may be anybody's.
std::optional<ParsedRecord> ParseUnchecked(std::string_view line);
// HashOfLine is what the next record names as its "previousHash": hex SHA-256.
std::string HashOfLine(std::string_view line);
// Member is a string member of an object, empty when there is none.
std::string_view Member(const nlohmann::json& object, const char* name);
bool Selects(const AuditFilter& filter, const ParsedRecord& record);

}  // namespace keyfold
