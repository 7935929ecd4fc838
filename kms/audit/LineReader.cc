#include "kms/audit/LineReader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace keyfold {
namespace {

constexpr size_t kChunk = 64 * 1024;

// ReadAt is one pread; 0 bytes where some must be means a shortened file.
Result<size_t> ReadAt(int fd, char* out, size_t size, uint64_t offset) {
  while (true) {
    const ssize_t got = pread(fd, out, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::FromErrno(errno, "reading the audit log");
    if (got == 0) return Status(Error::kCorrupt, "The audit log became shorter.");
    return static_cast<size_t>(got);
  }
}

}  // namespace

Status LineReader::Fill() {
  buffer_.erase(0, used_);
  used_ = 0;
  const size_t old = buffer_.size();
  const size_t want =
      static_cast<size_t>(std::min<uint64_t>(kChunk, end_ - read_from_));
  buffer_.resize(old + want);
  auto got = ReadAt(fd_, buffer_.data() + old, want, read_from_);
  buffer_.resize(old + (got.ok() ? *got : 0));
  if (!got.ok()) return got.status();
  read_from_ += *got;
  return OkStatus();
}

Result<std::optional<std::string_view>> LineReader::Next() {
  size_t searched = used_;
  while (true) {
    const size_t newline = buffer_.find('\n', searched);
    if (newline != std::string::npos && newline - used_ <= kMaxLineSize) {
      const std::string_view line(buffer_.data() + used_, newline - used_);
      used_ = newline + 1;
      offset_ += line.size() + 1;
      return std::optional<std::string_view>(line);
    }
    const size_t pending = buffer_.size() - used_;
    if (newline != std::string::npos || pending > kMaxLineSize)
      return Status(Error::kCorrupt, "The audit log has a line that is too long.");
    if (read_from_ >= end_) {
      if (pending == 0) return std::optional<std::string_view>();
      return Status(Error::kCorrupt, "The audit log ends within a record.");
    }
    KF_RETURN_IF_ERROR(Fill());
    searched = pending;
  }
}

Result<uint64_t> AfterLastNewline(int fd, uint64_t size) {
  std::string chunk(kChunk, '\0');
  while (size > 0) {
    const uint64_t from = size > kChunk ? size - kChunk : 0;
    size_t filled = 0;
    while (filled < size - from) {
      KF_ASSIGN_OR_RETURN(
          const size_t got,
          ReadAt(fd, chunk.data() + filled, static_cast<size_t>(size - from) - filled,
                 from + filled));
      filled += got;
    }
    const size_t newline = std::string_view(chunk.data(), filled).rfind('\n');
    if (newline != std::string_view::npos) return from + newline + 1;
    size = from;
  }
  return uint64_t{0};
}

}  // namespace keyfold
