#include "kms/base/Bytes.h"

#include <array>
#include <cstdlib>

namespace keyfold {
namespace {

constexpr std::string_view kStandard =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrlSafe =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr uint8_t kInvalid = 0xff;

constexpr std::array<uint8_t, 256> Inverse(std::string_view alphabet) {
  std::array<uint8_t, 256> table{};
  table.fill(kInvalid);
  for (size_t i = 0; i < alphabet.size(); ++i)
    table[static_cast<uint8_t>(alphabet[i])] = static_cast<uint8_t>(i);
  return table;
}

std::string Encode64(ByteView bytes, std::string_view alphabet) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  uint32_t bits = 0;
  int count = 0;
  for (uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    count += 8;
    while (count >= 6) {
      count -= 6;
      out.push_back(alphabet[(bits >> count) & 63]);
    }
  }
  if (count > 0) out.push_back(alphabet[(bits << (6 - count)) & 63]);
  return out;
}

// Decodes unpadded text; leftover bits must be zero, so that each byte string
// has exactly one encoding.
std::optional<Bytes> Decode64(std::string_view text,
                              const std::array<uint8_t, 256>& table) {
  if (text.size() % 4 == 1) return std::nullopt;
  Bytes out;
  out.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    const uint8_t value = table[static_cast<uint8_t>(c)];
    if (value == kInvalid) return std::nullopt;
    bits = ((bits << 6) | value) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<uint8_t>(bits >> count));
    }
  }
  if ((bits & ((1u << count) - 1)) != 0) return std::nullopt;
  return out;
}

}  // namespace

std::optional<ByteView> ByteReader::Take(size_t count) {
  if (count > input_.size()) return std::nullopt;
  ByteView taken = input_.first(count);
  input_ = input_.subspan(count);
  return taken;
}

std::optional<ByteView> ByteReader::Prefixed() {
  ByteReader ahead = *this;
  auto length = ahead.Integer<uint16_t>();
  if (!length) return std::nullopt;
  auto bytes = ahead.Take(*length);
  if (bytes) *this = ahead;
  return bytes;
}

void ByteWriter::Prefixed(ByteView bytes) {
  if (bytes.size() > UINT16_MAX) std::abort();
  Integer(static_cast<uint16_t>(bytes.size()));
  Append(bytes);
}

std::string ToHex(ByteView bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (uint8_t byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::optional<Bytes> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  Bytes out;
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<uint8_t>(high << 4 | low));
  }
  return out;
}

std::string ToBase64(ByteView bytes) {
  std::string out = Encode64(bytes, kStandard);
  while (out.size() % 4 != 0) out.push_back('=');
  return out;
}

std::optional<Bytes> FromBase64(std::string_view text) {
  static constexpr auto kTable = Inverse(kStandard);
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return Decode64(text, kTable);
}

std::string ToBase32(ByteView bytes) {
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string out;
  unsigned held = 0, bits = 0;
  for (uint8_t byte : bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) out += kLetters[(held >> (bits - 5)) & 31];
    held &= (1u << bits) - 1;
  }
  if (bits > 0) out += kLetters[(held << (5 - bits)) & 31];
  return out;
}

std::string ToBase64Url(ByteView bytes) { return Encode64(bytes, kUrlSafe); }

std::optional<Bytes> FromBase64Url(std::string_view text) {
  static constexpr auto kTable = Inverse(kUrlSafe);
  return Decode64(text, kTable);
}

}  // namespace keyfold
