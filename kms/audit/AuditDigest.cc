#include "kms/audit/AuditDigest.h"

#include "kms/audit/AuditRecord.h"

namespace keyfold {
namespace {

using nlohmann::json;

// In signatures and on disk: never change.
constexpr std::string_view kLabel = "keyfold audit digest v1";
constexpr char kAlgorithm[] = "Ed25519";
constexpr std::string_view kPemBegin = "-----BEGIN PUBLIC KEY-----";
constexpr std::string_view kPemEnd = "-----END PUBLIC KEY-----";
constexpr size_t kPemWidth = 64;

bool Fits(const AuditDigest& digest) {
  constexpr size_t kLongest = 1024;
  return digest.store_id.size() <= kLongest && digest.last_hash.size() <= kLongest &&
         digest.time.size() <= kLongest && digest.previous_signature.size() <= kLongest;
}

Bytes SignedBytes(const AuditDigest& digest) {
  ByteWriter out;
  out.Prefixed(kLabel);
  out.Prefixed(digest.store_id);
  out.Integer(digest.first_sequence);
  out.Integer(digest.last_sequence);
  out.Prefixed(digest.last_hash);
  out.Prefixed(digest.time);
  out.Integer(digest.previous_sequence);
  out.Prefixed(digest.previous_signature);
  return out.Take();
}

std::optional<uint64_t> Number(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_number_unsigned()) return std::nullopt;
  return it->get<uint64_t>();
}

std::optional<SignedDigest> Parse(const json& value) {
  if (!value.is_object() || Member(value, "algorithm") != kAlgorithm)
    return std::nullopt;
  const auto first = Number(value, "firstSequence");
  const auto last = Number(value, "lastSequence");
  const auto previous = Number(value, "previousDigestSequence");
  const auto key = FromBase64(Member(value, "publicKey"));
  const auto signature = FromBase64(Member(value, "signature"));
  if (!first || !last || !previous || !key || !signature) return std::nullopt;
  return SignedDigest{
      {std::string(Member(value, "storeId")), *first, *last,
       std::string(Member(value, "lastHash")), std::string(Member(value, "time")),
       *previous, std::string(Member(value, "previousDigestSignature"))},
      *key,
      *signature};
}

}  // namespace

json SignDigest(const AuditDigest& digest, const SigningKey& key) {
  return {{"algorithm", kAlgorithm},
          {"storeId", digest.store_id},
          {"firstSequence", digest.first_sequence},
          {"lastSequence", digest.last_sequence},
          {"lastHash", digest.last_hash},
          {"time", digest.time},
          {"previousDigestSequence", digest.previous_sequence},
          {"previousDigestSignature", digest.previous_signature},
          {"publicKey", ToBase64(key.PublicKeyDer())},
          {"signature", ToBase64(key.Sign(SignedBytes(digest)))}};
}

Result<std::optional<SignedDigest>> DigestIn(const json& record) {
  const auto data = record.find("additionalEventData");
  if (data == record.end() || !data->is_object()) return std::optional<SignedDigest>();
  const auto value = data->find("digest");
  if (value == data->end()) return std::optional<SignedDigest>();
  auto parsed = Parse(*value);
  if (!parsed || !Fits(parsed->digest))
    return Status(Error::kCorrupt, "its digest cannot be read");
  if (!VerifySignature(parsed->public_key, SignedBytes(parsed->digest),
                       parsed->signature))
    return Status(Error::kCorrupt, "its digest's signature is wrong");
  return parsed;
}

std::string PublicKeyPem(ByteView der) {
  std::string pem = std::string(kPemBegin) + "\n";
  const std::string text = ToBase64(der);
  for (size_t at = 0; at < text.size(); at += kPemWidth)
    pem += text.substr(at, kPemWidth) + "\n";
  return pem + std::string(kPemEnd) + "\n";
}

std::vector<Bytes> ParsePublicKeys(std::string_view pem) {
  std::vector<Bytes> keys;
  for (;;) {
    const size_t begin = pem.find(kPemBegin);
    if (begin == std::string_view::npos) return keys;
    const size_t end = pem.find(kPemEnd, begin);
    if (end == std::string_view::npos) return {};
    std::string text;
    for (char c : pem.substr(begin + kPemBegin.size(), end - begin - kPemBegin.size()))
      if (c != '\n' && c != '\r' && c != ' ') text += c;
    auto der = FromBase64(text);
    if (!der) return {};
    keys.push_back(*std::move(der));
    pem.remove_prefix(end + kPemEnd.size());
  }
}

}  // namespace keyfold
