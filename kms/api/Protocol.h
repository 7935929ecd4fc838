// The AWS JSON 1.1 protocol, without its transport: targets, bodies, errors.
//
// Owns: how an operation, its request and its outcome are written. Must not
// know: sockets, HTTP libraries, what an operation does. Free functions,
// thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "kms/base/Status.h"

namespace keyfold {

inline constexpr char kContentType[] = "application/x-amz-json-1.1";
inline constexpr size_t kMaxBody = 1 << 20;

struct Target {
  std::string service;    // "kms", "iam", "audit", "store"
  std::string operation;  // "CreateKey"
};

// ParseTarget reads the header X-Amz-Target, "TrentService.CreateKey"; nothing
// unless prefix and operation are of kms/service/Schema.h.
std::optional<Target> ParseTarget(std::string_view header);
// TargetHeader is its inverse; empty for an unknown service.
std::string TargetHeader(std::string_view service, std::string_view operation);

struct Reply {
  int http_status = 200;
  std::string body;
  std::string request_id;  // of the call's record; empty when there is none
  const char* content_type = kContentType;
};
Reply SuccessReply(const nlohmann::json& answer);
// ErrorReply is {"__type": ..., "message": ...} with status 400, or 500 when
// the failure is not the request's.
Reply ErrorReply(const Status& status);
Reply ErrorReply(std::string_view type, std::string_view message,
                 int http_status = 400);

// ParseRequest reads a body: an object nested at most 32 deep; an empty body
// is an empty object. Nothing for anything else.
std::optional<nlohmann::json> ParseRequest(std::string_view body);
// ParseReply turns an answer back into what the server's ErrorReply was made of.
Result<nlohmann::json> ParseReply(int http_status, std::string_view body);

}  // namespace keyfold
