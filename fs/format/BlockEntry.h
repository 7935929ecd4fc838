// BlockEntry: the 64 bytes of metadata of one data block.
//
// An entry is two seals of 32 bytes (FORMAT.md, "Block entries"). Whoever
// overwrites a block stores the new seal first and the one it replaces second,
// and then the data, so the block reads as old or as new. Plain values, no
// locks; nothing here authenticates.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "fs/format/Geometry.h"
#include "fs/format/Ids.h"
#include "kms/base/Bytes.h"

namespace keyfold {

inline constexpr size_t kSealSize = 32;
inline constexpr size_t kSealNonceSize = 12;
inline constexpr size_t kSealTagSize = 16;
inline constexpr uint32_t kSealHoleFlag = 0x80000000u;
// A seal stores epoch + 1 in 31 bits.
inline constexpr uint32_t kMaxKeyEpoch = 0x7ffffffeu;
// Seals made in an epoch before the next one begins: at most this many random
// nonces under one content key.
inline constexpr uint64_t kMaxSealsPerEpoch = uint64_t{1} << 31;
// How far ahead of the seals made a header's count is set: as many blocks, 256
// MiB, are written before it must be set again.
inline constexpr uint64_t kSealReserve = uint64_t{1} << 16;

struct Seal {
  std::array<uint8_t, kSealNonceSize> nonce{};
  std::array<uint8_t, kSealTagSize> tag{};
  bool hole = false;
  std::optional<uint32_t> epoch;  // none: the seal is absent

  bool IsAbsent() const { return !epoch.has_value(); }
  bool operator==(const Seal&) const = default;
};

struct BlockEntry {
  std::array<Seal, 2> seals;

  // Parse never fails: what no writer makes (epoch field 0 with other bytes
  // set) is an absent seal, so damage to one seal leaves the other usable.
  // `raw` is exactly 64 bytes; anything else aborts.
  static BlockEntry Parse(ByteView raw);
  // Serialize writes 64 bytes. An absent seal is all zero; an epoch above
  // kMaxKeyEpoch or an `out` of another size aborts.
  void Serialize(MutableBytes out) const;

  bool IsAbsent() const { return seals[0].IsAbsent() && seals[1].IsAbsent(); }
  bool operator==(const BlockEntry&) const = default;
};

inline constexpr size_t kBlockAadSize = kIdSize + 8 + 1;

// BlockAad is what a seal authenticates beside the data: file id, block number,
// and whether the block is data or a hole (whose plaintext is empty).
std::array<uint8_t, kBlockAadSize> BlockAad(const FileId& file, BlockNo block,
                                            bool hole);

}  // namespace keyfold
