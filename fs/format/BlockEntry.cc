#include "fs/format/BlockEntry.h"

#include <algorithm>
#include <cstdlib>

namespace keyfold {
namespace {

constexpr size_t kWordOffset = kSealNonceSize + kSealTagSize;
static_assert(kWordOffset + 4 == kSealSize && 2 * kSealSize == kEntrySize);

Seal ParseSeal(ByteView raw) {
  uint32_t word = 0;
  for (size_t i = 4; i-- > 0;) word = word << 8 | raw[kWordOffset + i];
  const uint32_t stored = word & ~kSealHoleFlag;
  Seal seal;
  if (stored == 0) return seal;
  std::copy_n(raw.begin(), kSealNonceSize, seal.nonce.begin());
  std::copy_n(raw.begin() + kSealNonceSize, kSealTagSize, seal.tag.begin());
  seal.hole = (word & kSealHoleFlag) != 0;
  seal.epoch = stored - 1;
  return seal;
}

void SerializeSeal(const Seal& seal, MutableBytes out) {
  std::fill(out.begin(), out.end(), uint8_t{0});
  if (seal.IsAbsent()) return;
  if (*seal.epoch > kMaxKeyEpoch) std::abort();
  std::copy(seal.nonce.begin(), seal.nonce.end(), out.begin());
  std::copy(seal.tag.begin(), seal.tag.end(), out.begin() + kSealNonceSize);
  const uint32_t word = (*seal.epoch + 1) | (seal.hole ? kSealHoleFlag : 0);
  for (size_t i = 0; i < 4; ++i)
    out[kWordOffset + i] = static_cast<uint8_t>(word >> (8 * i));
}

}  // namespace

BlockEntry BlockEntry::Parse(ByteView raw) {
  if (raw.size() != kEntrySize) std::abort();
  BlockEntry entry;
  for (size_t i = 0; i < entry.seals.size(); ++i)
    entry.seals[i] = ParseSeal(raw.subspan(i * kSealSize, kSealSize));
  return entry;
}

void BlockEntry::Serialize(MutableBytes out) const {
  if (out.size() != kEntrySize) std::abort();
  for (size_t i = 0; i < seals.size(); ++i)
    SerializeSeal(seals[i], out.subspan(i * kSealSize, kSealSize));
}

std::array<uint8_t, kBlockAadSize> BlockAad(const FileId& file, BlockNo block,
                                            bool hole) {
  std::array<uint8_t, kBlockAadSize> aad;
  std::copy(file.bytes.begin(), file.bytes.end(), aad.begin());
  for (size_t i = 0; i < 8; ++i)
    aad[kIdSize + i] = static_cast<uint8_t>(block.value >> (8 * i));
  aad[kIdSize + 8] = hole ? 1 : 0;
  return aad;
}

}  // namespace keyfold
