// SignatureV4: AWS Signature Version 4 of a request's headers and body.
//
// Owns: reading the Authorization header, the canonical request, the signature.
// Must not know: where secrets come from, sockets. Free functions, thread-safe.
// Source: AWS, "Signature Version 4 for API requests".
#pragma once

#include <string>
#include <vector>

#include "kms/api/HttpRequest.h"
#include "kms/base/Clock.h"
#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// Requests signed earlier than this, by the server's clock, are refused.
inline constexpr std::chrono::minutes kClockSkew{5};
// Only programs of this machine sign, by the same clock.
inline constexpr std::chrono::seconds kClockAhead{10};

// Authorization is what a request says about its signature; not yet believed.
struct Authorization {
  std::string access_key_id;
  std::string session_token;          // of temporary credentials; else empty
  std::string date, region, service;  // the credential's scope; date: "20260131"
  std::string amz_date;               // "20260131T120000Z"
  TimePoint time;                     // the same
  std::vector<std::string> signed_headers;
  std::string signature;  // 64 hexadecimal digits
  // An id that AWS's clients give each request is under the signature.
  bool has_own_id = false;
};

// ParseAuthorization reads the headers Authorization, X-Amz-Date and
// X-Amz-Security-Token. kMissingAuthentication without an Authorization header,
// kIncompleteSignature for one that is not of this version or lacks a part,
// kInvalidSignature when a header that must be signed is not.
Result<Authorization> ParseAuthorization(const HttpRequest& request);

// CheckScope is kInvalidSignature unless the credential is for this region and
// service and the time of signing lies within kClockSkew before and kClockAhead
// after `now`.
Status CheckScope(const Authorization& authorization, std::string_view region,
                  std::string_view service, TimePoint now);

// CheckSignature is kInvalidSignature unless the request was signed with `secret`,
// the text of a secret access key.
Status CheckSignature(const Authorization& authorization, const HttpRequest& request,
                      const SecretBytes& secret);

}  // namespace keyfold
