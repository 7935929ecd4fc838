#include "kms/api/SignatureV4.h"

#include <algorithm>
#include <map>

#include "kms/base/IsoTime.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view kTerminator = "aws4_request";
constexpr size_t kMaxSignedHeaders = 64;

Status Incomplete(const std::string& what) {
  return {Error::kIncompleteSignature, "Authorization header " + what};
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Parts reads "Credential=..., SignedHeaders=..., Signature=...".
std::map<std::string, std::string> Parts(std::string_view text) {
  std::map<std::string, std::string> parts;
  for (const std::string& part : Split(text, ',')) {
    const std::string_view trimmed = Trimmed(part);
    const size_t equals = trimmed.find('=');
    if (equals == std::string_view::npos) continue;
    parts.emplace(trimmed.substr(0, equals), trimmed.substr(equals + 1));
  }
  return parts;
}

// "20260131T120000Z"; nothing for any other text.
std::optional<TimePoint> ParseBasicTime(std::string_view text) {
  if (text.size() != 16) return std::nullopt;
  std::string extended(text.substr(0, 4));
  extended.append("-").append(text.substr(4, 2)).append("-").append(text.substr(6, 5));
  extended.append(":").append(text.substr(11, 2)).append(":").append(text.substr(13));
  const auto time = ParseIso8601(extended, TimeZone::kRequired);
  if (!time) return std::nullopt;
  return std::chrono::floor<std::chrono::milliseconds>(*time);
}

std::string BasicTime(TimePoint time) {
  std::string text = FormatUtc(time);
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}

// What changes the meaning of a request must be under its signature.
bool MustBeSigned(const std::string& header) {
  return header == "host" || header.starts_with("x-amz-");
}

bool IsSigned(const Authorization& authorization, const std::string& header) {
  const auto& list = authorization.signed_headers;
  return std::find(list.begin(), list.end(), header) != list.end();
}

// Values trims, and joins runs of spaces, as the canonical form wants.
std::string CanonicalValue(std::string_view value) {
  std::string out;
  for (char c : Trimmed(value))
    if (c != ' ' || out.back() != ' ') out += c;
  return out;
}

std::string CanonicalRequest(const Authorization& authorization,
                             const HttpRequest& request) {
  std::string text = request.method + "\n" + request.target + "\n\n", names;
  for (const std::string& name : authorization.signed_headers) {
    std::string values;
    bool first = true;
    for (const auto& [known, value] : request.headers) {
      if (known != name) continue;
      values += (first ? "" : ",") + CanonicalValue(value);
      first = false;
    }
    text += name + ":" + values + "\n";
    names += (names.empty() ? "" : ";") + name;
  }
  return text + "\n" + names + "\n" + ToHex(Sha256(AsBytes(request.body)));
}

std::string Scope(const Authorization& authorization) {
  return authorization.date + "/" + authorization.region + "/" + authorization.service +
         "/" + std::string(kTerminator);
}

Status ReadCredential(const std::string& text, Authorization* out) {
  const std::vector<std::string> parts = Split(text, '/');
  if (parts.size() != 5 || parts[0].empty() || parts[4] != kTerminator)
    return Incomplete("has a Credential that is not ID/DATE/REGION/SERVICE/" +
                      std::string(kTerminator) + ".");
  out->access_key_id = parts[0];
  out->date = parts[1];
  out->region = parts[2];
  out->service = parts[3];
  return OkStatus();
}

Status ReadTime(const HttpRequest& request, Authorization* out) {
  const std::string* date = request.Header("x-amz-date");
  const auto time = date == nullptr ? std::nullopt : ParseBasicTime(*date);
  if (!time)
    return Incomplete(
        "requires existence of an 'X-Amz-Date' header such as 20260131T120000Z.");
  out->amz_date = *date;
  out->time = *time;
  if (out->date == date->substr(0, 8)) return OkStatus();
  return {Error::kInvalidSignature,
          "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of "
          "date from HTTP: '" +
              out->date + "' != '" + date->substr(0, 8) + "', from '" + *date + "'."};
}

}  // namespace

Result<Authorization> ParseAuthorization(const HttpRequest& request) {
  const std::string* header = request.Header("authorization");
  if (header == nullptr)
    return Status(Error::kMissingAuthentication, "Missing Authentication Token");
  if (!header->starts_with(std::string(kAlgorithm) + " "))
    return Incomplete("requires the algorithm " + std::string(kAlgorithm) + ".");
  auto parts = Parts(std::string_view(*header).substr(kAlgorithm.size() + 1));
  for (const char* name : {"Credential", "SignedHeaders", "Signature"})
    if (parts[name].empty())
      return Incomplete("requires '" + std::string(name) + "' parameter.");
  Authorization out;
  KF_RETURN_IF_ERROR(ReadCredential(parts["Credential"], &out));
  KF_RETURN_IF_ERROR(ReadTime(request, &out));
  out.signature = parts["Signature"];
  out.signed_headers = Split(parts["SignedHeaders"], ';');
  if (out.signed_headers.size() > kMaxSignedHeaders)
    return Incomplete("names too many headers.");
  for (const auto& [name, value] : request.headers)
    if (MustBeSigned(name) && !IsSigned(out, name))
      return Status(
          Error::kInvalidSignature,
          "'" + name + "' must be a 'SignedHeader' in the AWS Authorization.");
  if (!IsSigned(out, "host") || request.Header("host") == nullptr)
    return Status(Error::kInvalidSignature,
                  "'host' must be a 'SignedHeader' in the AWS Authorization.");
  constexpr char kOwnId[] = "amz-sdk-invocation-id";
  out.has_own_id = IsSigned(out, kOwnId) && request.Header(kOwnId) != nullptr;
  if (const std::string* token = request.Header("x-amz-security-token"))
    out.session_token = *token;
  return out;
}

Status CheckScope(const Authorization& authorization, std::string_view region,
                  std::string_view service, TimePoint now) {
  if (authorization.region != region)
    return {Error::kInvalidSignature,
            "Credential should be scoped to a valid region, " + std::string(region) +
                ", not '" + authorization.region + "'."};
  if (authorization.service != service)
    return {Error::kInvalidSignature,
            "Credential should be scoped to correct service: '" + std::string(service) +
                "'."};
  const std::string bound = " (" + BasicTime(now);
  if (authorization.time < now - kClockSkew)
    return {Error::kInvalidSignature,
            "Signature expired: " + authorization.amz_date + " is now earlier than " +
                BasicTime(now - kClockSkew) + bound + " - 5 min.)"};
  if (authorization.time > now + kClockAhead)
    return {Error::kInvalidSignature,
            "Signature not yet current: " + authorization.amz_date +
                " is still later than " + BasicTime(now + kClockAhead) + bound +
                " + 10 s)"};
  return OkStatus();
}

Status CheckSignature(const Authorization& authorization, const HttpRequest& request,
                      const SecretBytes& secret) {
  const std::string to_sign =
      std::string(kAlgorithm) + "\n" + authorization.amz_date + "\n" +
      Scope(authorization) + "\n" +
      ToHex(Sha256(AsBytes(CanonicalRequest(authorization, request))));
  SecretBytes key = Prefixed("AWS4", secret);
  for (std::string_view part :
       {std::string_view(authorization.date), std::string_view(authorization.region),
        std::string_view(authorization.service), kTerminator})
    key = HmacSha256Key(key, AsBytes(part));
  const std::string expected = ToHex(HmacSha256(key, AsBytes(to_sign)));
  if (ConstantTimeEqual(AsBytes(expected), AsBytes(authorization.signature)))
    return OkStatus();
  return {Error::kInvalidSignature,
          "The request signature we calculated does not match the signature you "
          "provided. Check your AWS Secret Access Key and signing method. Consult the "
          "service documentation for details."};
}

}  // namespace keyfold
