#include "kms/api/Protocol.h"

#include <array>

#include "kms/service/Schema.h"

namespace keyfold {
namespace {

using nlohmann::json;

struct Prefix {
  std::string_view service, header;
};
// TrentService is what AWS calls its KMS on the wire.
constexpr std::array<Prefix, 4> kPrefixes{{{"kms", "TrentService"},
                                           {"iam", "KeyfoldIam"},
                                           {"audit", "KeyfoldAudit"},
                                           {"store", "KeyfoldStore"}}};
constexpr int kMaxDepth = 32;
constexpr int kMaxValues = 20'000;

// IsTooMuch bounds what parsing takes before anything is parsed: writing a document out
// recurses once a level, and a value of two bytes takes a hundred in memory.
bool IsTooMuch(std::string_view text) {
  int depth = 0, values = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth || ++values > kMaxValues) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (c == ',') {
      if (++values > kMaxValues) return true;
    }
  }
  return false;
}

// File names and process names may hold bytes that are not UTF-8.
std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string TextMember(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

}  // namespace

std::optional<Target> ParseTarget(std::string_view header) {
  const size_t dot = header.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  for (const Prefix& prefix : kPrefixes) {
    if (prefix.header != header.substr(0, dot)) continue;
    const Operation* found = FindOperation(prefix.service, header.substr(dot + 1));
    if (found == nullptr) return std::nullopt;
    return Target{std::string(found->service), std::string(found->name)};
  }
  return std::nullopt;
}

std::string TargetHeader(std::string_view service, std::string_view operation) {
  for (const Prefix& prefix : kPrefixes)
    if (prefix.service == service)
      return std::string(prefix.header) + "." + std::string(operation);
  return "";
}

Reply SuccessReply(const json& answer) { return {200, Dump(answer)}; }

Reply ErrorReply(const Status& status) {
  const bool ours =
      status.error() == Error::kInternal || status.error() == Error::kSystem ||
      status.error() == Error::kCorrupt || status.error() == Error::kUnavailable;
  return ErrorReply(ErrorName(status.error()), status.message(), ours ? 500 : 400);
}

Reply ErrorReply(std::string_view type, std::string_view message, int http_status) {
  return {http_status, Dump({{"__type", type}, {"message", message}})};
}

std::optional<json> ParseRequest(std::string_view body) {
  if (body.empty()) return json::object();
  // A NUL would end it for the parser, whatever follows.
  if (body.size() > kMaxBody || IsTooMuch(body) ||
      body.find('\0') != std::string_view::npos)
    return std::nullopt;
  json request = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!request.is_object()) return std::nullopt;
  return request;
}

Result<json> ParseReply(int http_status, std::string_view body) {
  json answer = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object())
    return Status(Error::kInternal, "The daemon's answer cannot be read (HTTP status " +
                                        std::to_string(http_status) + ").");
  if (http_status == 200) return answer;
  const std::string type = TextMember(answer, "__type");
  const Error error = ErrorFromName(type);
  const std::string message = TextMember(answer, "message");
  // A name this program does not know must not be lost.
  if (error == Error::kOk || (error == Error::kInternal && type != ErrorName(error)))
    return Status(Error::kInternal, type + ": " + message);
  return Status(error, message);
}

}  // namespace keyfold
