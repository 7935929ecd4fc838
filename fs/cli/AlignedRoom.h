// AlignedRoom: memory that O_DIRECT reads into. Plain functions.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace keyfold {

// What a file's block is at least aligned to, in memory and in the file.
inline constexpr uint64_t kDirectBlock = 4096;

struct RoomReleased {
  void operator()(uint8_t* bytes) const { std::free(bytes); }
};
using AlignedRoom = std::unique_ptr<uint8_t, RoomReleased>;

// RoomFor gives `size` bytes, a multiple of kDirectBlock.
inline AlignedRoom RoomFor(uint64_t size) {
  AlignedRoom room(static_cast<uint8_t*>(std::aligned_alloc(kDirectBlock, size)));
  if (!room) throw std::bad_alloc();
  return room;
}

// O_DIRECT reads whole blocks, behind a file's end too.
inline size_t RoundUp(uint64_t size) {
  return (size + kDirectBlock - 1) / kDirectBlock * kDirectBlock;
}

}  // namespace keyfold
