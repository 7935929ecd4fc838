// Header: one of the two slots of a regular file's header page.
//
// Owns: the byte layout and its validation (FORMAT.md, "Header slot"). Must not
// know: keys or MACs; fs/vault computes the MAC over the first 992 bytes and
// must check it before it believes anything but the ids and the wrapped DEK it
// needs to get there. Plain values, not synchronised.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "fs/format/BlockEntry.h"
#include "fs/format/Geometry.h"
#include "fs/format/HoleList.h"
#include "fs/format/Ids.h"
#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

inline constexpr std::string_view kHeaderMagic{"KEYFOLD\x01", 8};
// Format 1 lacks synced_length and checkpoint, and is read as well. Format 3 is 2 with
// a former data key, and written only while there is one.
inline constexpr uint16_t kHeaderFormat = 2;
inline constexpr uint16_t kHeaderFormatRekeying = 3;
inline constexpr size_t kHeaderMacOffset = kHeaderSlotSize - kMacSize;  // 992
inline constexpr size_t kMaxBlobSize = 320;
inline constexpr size_t kCommitmentSize = 32;
inline constexpr size_t kSealedFormerKeySize = 60;  // nonce 12, key 32, tag 16

enum class HeaderType : uint16_t { kRegularFile = 1 };

// FormerKey is the data key of blocks that were not encrypted anew yet.
struct FormerKey {
  uint32_t end_epoch = 0;  // seals of epochs below are under it; 1 to key_epoch
  std::array<uint8_t, kSealedFormerKeySize> sealed{};  // under the data key
  bool operator==(const FormerKey&) const = default;
};

struct HeaderSlot {
  HeaderType type = HeaderType::kRegularFile;
  uint64_t generation = 0;  // grows with every update; the higher slot is current
  FileId file_id;
  FolderId home_folder;  // the folder named in the DEK's encryption context
  std::string key_id;    // UUID of the CMK that wraps the DEK
  Bytes blob;            // the wrapped DEK, 1 to 320 bytes
  std::array<uint8_t, kCommitmentSize> commitment{};
  uint64_t length = 0;  // plaintext bytes
  uint32_t key_epoch = 0;
  uint64_t seals_in_epoch = 0;  // never fewer than were made under this epoch
  HoleList holes;
  // Blocks are being overwritten: some may have new entries and old data.
  bool torn = false;
  // Up to here, at most `length`, the contents survive power loss; what follows once
  // the checkpoint is closed in which this was written.
  uint64_t synced_length = 0;
  uint64_t checkpoint = 0;
  std::optional<FormerKey> former;  // while the contents are encrypted anew

  bool operator==(const HeaderSlot&) const = default;
};

// EncodeHeaderSlot returns the 992 bytes that are MACed; the MAC follows them.
// kValidation when a field is out of range.
Result<Bytes> EncodeHeaderSlot(const HeaderSlot& slot);

// ParseHeaderSlot reads a slot of exactly 1024 bytes and checks every field and
// the padding, but not the MAC. kNewerFormat: a good magic and a higher format
// number; kCorrupt: anything else no writer makes.
Result<HeaderSlot> ParseHeaderSlot(ByteView raw);

// The authenticated part and the MAC of a slot of 1024 bytes.
inline ByteView HeaderMacedBytes(ByteView slot) { return slot.first(kHeaderMacOffset); }
inline ByteView HeaderMac(ByteView slot) {
  return slot.subspan(kHeaderMacOffset, kMacSize);
}

}  // namespace keyfold
