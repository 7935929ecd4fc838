#include "kms/audit/AuditRecord.h"

#include <algorithm>

#include "kms/audit/LineReader.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;
constexpr std::string_view kMacStart = ",\"mac\":\"";
constexpr std::string_view kMacEnd = "\"}";
constexpr size_t kMacHexSize = 2 * kSha256Size;
constexpr size_t kMacMemberSize = kMacStart.size() + kMacHexSize + kMacEnd.size();

// A record this deep is refused: writing it out recurses.
bool DepthWithin(const json& value, int limit) {
  if (!value.is_structured()) return true;
  if (limit == 0) return false;
  return std::all_of(value.begin(), value.end(), [limit](const json& member) {
    return DepthWithin(member, limit - 1);
  });
}

// AddMac puts the mac of `text`, a JSON object, into it as the last member.
std::string AddMac(const SecretBytes& key, std::string text) {
  const std::string mac = ToHex(HmacSha256(key, AsBytes(text)));
  text.pop_back();
  text += kMacStart;
  text += mac;
  text += kMacEnd;
  return text;
}

// HasValidMac undoes AddMac on the text itself: nothing is parsed before it is
// known to be ours.
bool HasValidMac(const SecretBytes& key, std::string_view line) {
  if (line.size() <= kMacMemberSize) return false;
  const std::string_view member = line.substr(line.size() - kMacMemberSize);
  if (!member.starts_with(kMacStart) || !member.ends_with(kMacEnd)) return false;
  std::string text(line.substr(0, line.size() - kMacMemberSize));
  text += '}';
  const std::string mac = ToHex(HmacSha256(key, AsBytes(text)));
  return ConstantTimeEqual(AsBytes(mac),
                           AsBytes(member.substr(kMacStart.size(), kMacHexSize)));
}

bool NamesKey(const json& record, const std::string& key) {
  const auto resources = record.find("resources");
  if (resources == record.end() || !resources->is_array()) return false;
  const std::string tail = "/" + key;
  for (const json& resource : *resources) {
    const std::string_view arn = Member(resource, "ARN");
    if (arn == key || arn.ends_with(tail)) return true;
  }
  return false;
}

}  // namespace

std::string_view Member(const json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto it = object.find(name);
  if (it == object.end() || !it->is_string()) return {};
  return it->get_ref<const std::string&>();
}

std::string HashOfLine(std::string_view line) { return ToHex(Sha256(AsBytes(line))); }

Result<JsonText> TextOf(const json& record) {
  if (!record.is_object() || !DepthWithin(record, kMaxDepth))
    return Status(Error::kInternal,
                  "An audit record must be an object of bounded depth.");
  // File names need not be UTF-8; what isn't is replaced.
  const std::string text = record.dump(-1, ' ', false, json::error_handler_t::replace);
  JsonText out;
  out.AddMembers(std::string_view(text).substr(1, text.size() - 2));
  return out;
}

Result<std::string> FormatRecord(const SecretBytes& key, const JsonText& record) {
  std::string line = AddMac(key, record.Object());
  if (line.size() > kMaxLineSize)
    return Status(Error::kValidation, "The request is too large to be recorded.");
  return line;
}

std::optional<ParsedRecord> ParseRecord(const SecretBytes& key, std::string_view line) {
  if (!HasValidMac(key, line)) return std::nullopt;
  return ParseUnchecked(line);
}

std::optional<ParsedRecord> ParseUnchecked(std::string_view line) {
  ParsedRecord record;
  record.value = json::parse(line, nullptr, false);
  if (!record.value.is_object()) return std::nullopt;
  const auto sequence = record.value.find("sequence");
  const auto previous = record.value.find("previousHash");
  if (sequence == record.value.end() || !sequence->is_number_unsigned() ||
      previous == record.value.end() || !previous->is_string())
    return std::nullopt;
  record.sequence = sequence->get<uint64_t>();
  if (record.sequence == 0) return std::nullopt;
  return record;
}

bool Selects(const AuditFilter& filter, const ParsedRecord& record) {
  if (record.sequence <= filter.after_sequence) return false;
  if (filter.before_sequence != 0 && record.sequence >= filter.before_sequence)
    return false;
  if (!filter.since.empty() && Member(record.value, "eventTime") < filter.since)
    return false;
  if (filter.refused && Member(record.value, "errorCode").empty()) return false;
  if (!filter.event.empty() && Member(record.value, "eventName") != filter.event)
    return false;
  if (!filter.user.empty()) {
    const auto identity = record.value.find("userIdentity");
    if (identity == record.value.end()) return false;
    if (Member(*identity, "userName") != filter.user &&
        Member(*identity, "arn") != filter.user)
      return false;
  }
  return filter.key.empty() || NamesKey(record.value, filter.key);
}

}  // namespace keyfold
