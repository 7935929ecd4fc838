#include "fs/cli/Contents.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "fs/backend/Backend.h"
#include "fs/cli/AlignedRoom.h"

namespace keyfold {
namespace {

constexpr uint64_t kChunk = 1 << 20;  // read at once
constexpr uint64_t kBlock = kDirectBlock;

// Hasher chains the blocks that are not zeros, each with its place.
class Hasher {
 public:
  // Add takes contents at `offset`, a multiple of kBlock, ascending.
  void Add(uint64_t offset, ByteView contents) {
    while (!contents.empty()) {
      const ByteView block = contents.first(std::min(contents.size(), kBlock));
      if (!IsZeros(block)) Chain(offset, block);
      contents = contents.subspan(block.size());
      offset += block.size();
    }
  }
  ContentHash Finish(uint64_t size) {
    Chain(size, {});
    return state_;
  }

 private:
  static bool IsZeros(ByteView block) {
    return block[0] == 0 &&
           std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0;
  }
  void Chain(uint64_t number, ByteView block) {
    std::array<uint8_t, kSha256Size + sizeof number + kBlock> all;
    std::copy(state_.begin(), state_.end(), all.begin());
    std::memcpy(all.data() + kSha256Size, &number, sizeof number);
    std::copy(block.begin(), block.end(), all.data() + kSha256Size + sizeof number);
    state_ = Sha256(ByteView(all).first(kSha256Size + sizeof number + block.size()));
  }

  ContentHash state_{};
};

struct Range {
  uint64_t begin = 0, end = 0;
};

// NextData finds the next blocks of data at or behind `at`; none: an empty range.
Result<Range> NextData(int fd, uint64_t at, uint64_t size) {
  const off_t begin = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
  if (begin < 0 && errno == ENXIO) return Range{size, size};
  // Not every filesystem can tell.
  if (begin < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) return Range{at, size};
  if (begin < 0) return Status::FromErrno(errno, "read");
  const off_t end = ::lseek(fd, begin, SEEK_HOLE);
  if (end < 0) return Status::FromErrno(errno, "read");
  return Range{std::min(size, static_cast<uint64_t>(begin) / kBlock * kBlock),
               std::min<uint64_t>(size, RoundUp(static_cast<uint64_t>(end)))};
}

// ReadBlocks reads `size` bytes, in whole blocks as O_DIRECT needs.
Status ReadBlocks(int fd, uint64_t offset, uint64_t size, uint8_t* room) {
  for (uint64_t done = 0; done < size;) {
    const ssize_t got = ::pread(fd, room + done, RoundUp(size - done),
                                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::FromErrno(errno, "read");
    const uint64_t read = done + static_cast<uint64_t>(got);
    if (read >= size) return OkStatus();
    // What follows is read from a block's start too, so that it stays in the room.
    if (read / kBlock * kBlock == done) return ChangedMeanwhile();
    done = read / kBlock * kBlock;
  }
  return OkStatus();
}

}  // namespace

Status ChangedMeanwhile() {
  return Status::Told(Error::kSystem, EAGAIN, "it changed while it was read");
}

Result<ContentHash> ReadContents(int fd, uint64_t size, const ReadSteps& steps,
                                 const Taken& taken) {
  const uint64_t part = steps.part == 0
                            ? kChunk
                            : std::clamp<uint64_t>(RoundUp(steps.part), kBlock, kChunk);
  const AlignedRoom room = RoomFor(kChunk);
  Hasher hasher;
  for (uint64_t at = 0; at < size;) {
    KF_ASSIGN_OR_RETURN(const Range data, NextData(fd, at, size));
    for (at = std::max(at, data.begin); at < data.end;) {
      const uint64_t wanted = std::min(part, data.end - at);
      KF_RETURN_IF_ERROR(ReadBlocks(fd, at, wanted, room.get()));
      const ByteView contents(room.get(), wanted);
      hasher.Add(at, contents);
      KF_RETURN_IF_ERROR(taken(at, contents));
      at += wanted;
      if (steps.passed) KF_RETURN_IF_ERROR(steps.passed(wanted));
    }
  }
  return hasher.Finish(size);
}

Status PassCache(int fd) {
  if (::fsync(fd) != 0) return Status::FromErrno(errno, "sync");
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_DIRECT) == 0) return OkStatus();
  // Synced pages that nobody has mapped are dropped when asked for.
  const int error = ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  return error == 0 ? OkStatus() : Status::FromErrno(error, "read");
}

}  // namespace keyfold
