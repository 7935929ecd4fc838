// LineReader: the lines of a range of a file, in bounded memory.
//
// Owns: a buffer of at most one line. Must not know: what a line means. Not
// synchronised; uses pread, so it leaves the descriptor's offset alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kms/base/Status.h"

namespace keyfold {

inline constexpr size_t kMaxLineSize = 64 * 1024;  // without the newline

class LineReader {
 public:
  // Reads bytes `start` to `end` of `fd`, which the caller keeps open.
  LineReader(int fd, uint64_t start, uint64_t end)
      : fd_(fd), read_from_(start), end_(end), offset_(start) {}

  // Next returns the next line without its newline, valid until the next call;
  // nullopt at the end; kCorrupt for a line that is too long or has no newline
  // or for a file that has become shorter.
  Result<std::optional<std::string_view>> Next();
  // The file offset at which the next line starts.
  uint64_t offset() const { return offset_; }

 private:
  Status Fill();

  const int fd_;
  uint64_t read_from_;
  const uint64_t end_;
  uint64_t offset_;
  std::string buffer_;
  size_t used_ = 0;  // bytes of buffer_ already returned
};

// AfterLastNewline returns the offset after the last newline among the first
// `size` bytes of `fd`; 0 if there is none.
Result<uint64_t> AfterLastNewline(int fd, uint64_t size);

}  // namespace keyfold
