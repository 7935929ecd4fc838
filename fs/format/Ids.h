// Identifiers and key-derivation labels that reach disk or enter a MAC. All
// plain values: safe to share between threads. Changing one is a new format.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <optional>
#include <string_view>

#include "kms/base/Bytes.h"

namespace keyfold {

inline constexpr size_t kIdSize = 16;
inline constexpr size_t kKeyIdSize = 36;  // a UUID as text
inline constexpr size_t kMacSize = 32;    // HMAC-SHA-256

// OpaqueId is 16 random bytes. Each kind of object has a type of its own.
template <typename Tag>
struct OpaqueId {
  std::array<uint8_t, kIdSize> bytes{};

  // FromBytes is empty unless `raw` is exactly 16 bytes.
  static std::optional<OpaqueId> FromBytes(ByteView raw) {
    if (raw.size() != kIdSize) return std::nullopt;
    OpaqueId id;
    std::copy(raw.begin(), raw.end(), id.bytes.begin());
    return id;
  }
  ByteView view() const { return bytes; }
  // 32 lower-case hexadecimal digits, as in the encryption context.
  std::string Hex() const { return ToHex(bytes); }
  bool IsZero() const {
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
  }
  auto operator<=>(const OpaqueId&) const = default;
};

using FileId = OpaqueId<struct FileIdTag>;
using FolderId = OpaqueId<struct FolderIdTag>;

// IsKeyId tells whether `text` is a UUID in lower case with hyphens.
bool IsKeyId(std::string_view text);

// HKDF info strings. From a file's DEK:
inline constexpr std::string_view kContentKeyLabel = "keyfold content v1";
inline constexpr std::string_view kHeaderKeyLabel = "keyfold header v1";
inline constexpr std::string_view kCommitmentLabel = "keyfold commitment v1";
inline constexpr std::string_view kFormerKeyLabel = "keyfold former key v1";
// From the store's metadata key:
inline constexpr std::string_view kNamesKeyLabel = "keyfold names v1";
inline constexpr std::string_view kBindingsKeyLabel = "keyfold bindings v1";
inline constexpr std::string_view kXattrsKeyLabel = "keyfold xattrs v1";

// ContentKeyInfo is the HKDF info of the content key of `epoch`.
Bytes ContentKeyInfo(uint32_t epoch);

// Keys of the encryption context under which a DEK is wrapped.
inline constexpr std::string_view kContextStore = "keyfold:store";
inline constexpr std::string_view kContextFolder = "keyfold:folder";
inline constexpr std::string_view kContextFile = "keyfold:file";

}  // namespace keyfold
