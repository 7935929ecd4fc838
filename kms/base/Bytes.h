// Bounded reading and writing of bytes. Every getter can fail; none reads past
// its input. Integers are little-endian. Not synchronised.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kms/base/SecretBytes.h"

namespace keyfold {

using Bytes = std::vector<uint8_t>;

inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// ByteReader consumes a view from the front. A getter that fails consumes
// nothing.
class ByteReader {
 public:
  explicit ByteReader(ByteView input) : input_(input) {}
  size_t remaining() const { return input_.size(); }
  std::optional<ByteView> Take(size_t count);
  template <typename T>
  std::optional<T> Integer() {
    auto raw = Take(sizeof(T));
    if (!raw) return std::nullopt;
    T value = 0;
    for (size_t i = sizeof(T); i-- > 0;)
      value = static_cast<T>((static_cast<uint64_t>(value) << 8) | (*raw)[i]);
    return value;
  }
  // Takes a 16-bit length and that many bytes.
  std::optional<ByteView> Prefixed();

 private:
  ByteView input_;
};

// ByteWriter appends to a vector of its own.
class ByteWriter {
 public:
  void Append(ByteView bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void Append(std::string_view text) { Append(AsBytes(text)); }
  template <typename T>
  void Integer(T value) {
    for (size_t i = 0; i < sizeof(T); ++i)
      out_.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i)));
  }
  // Appends a 16-bit length and the bytes; more than 65,535 bytes abort.
  void Prefixed(ByteView bytes);
  void Prefixed(std::string_view text) { Prefixed(AsBytes(text)); }
  void PadTo(size_t size) { out_.resize(size); }
  size_t size() const { return out_.size(); }
  const Bytes& bytes() const { return out_; }
  Bytes Take() { return std::move(out_); }

 private:
  Bytes out_;
};

std::string ToHex(ByteView bytes);
std::optional<Bytes> FromHex(std::string_view hex);
// RFC 4648 section 6, without padding.
std::string ToBase32(ByteView bytes);
// RFC 4648 section 4, padded.
std::string ToBase64(ByteView bytes);
std::optional<Bytes> FromBase64(std::string_view text);
// RFC 4648 section 5, without padding: safe in file names.
std::string ToBase64Url(ByteView bytes);
std::optional<Bytes> FromBase64Url(std::string_view text);

}  // namespace keyfold
