// FileCounts: what the process that serves files counts, for those who watch it.
//
// It lies in memory that both processes of a mount share: that process writes it, the
// one with the keys reads it and may not believe it. Numbers only, so there is nothing
// to parse. Must not know: who shows them. Lock-free.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kms/service/Latencies.h"

namespace keyfold {

// What the kernel asks for. Their order is that of kFileOperationNames.
enum class FileOperation : uint8_t {
  kLookup,
  kGetAttr,
  kSetAttr,
  kCreate,
  kOpen,
  kRead,
  kWrite,
  kFsync,
  kRelease,
  kOpenDir,
  kReadDir,
  kMake,  // folders, devices, symbolic and hard links
  kRemove,
  kRename,
  kReadLink,
  kXattr,
  kSpace,  // fallocate, seeking holes, copying ranges
  kOther,
  kLast = kOther,
};
inline constexpr size_t kFileOperations = static_cast<size_t>(FileOperation::kLast) + 1;
inline constexpr std::array<std::string_view, kFileOperations> kFileOperationNames = {
    "lookup", "getattr", "setattr",  "create",  "open",    "read",
    "write",  "fsync",   "release",  "opendir", "readdir", "make",
    "remove", "rename",  "readlink", "xattr",   "space",   "other"};

// Why requests fail, as far as an operator would ask.
enum class FileFailure : uint8_t {
  kNoRight,
  kNoKey,
  kIo,
  kStale,
  kNoSpace,
  kNoMemory,
  kLast = kNoMemory
};
inline constexpr size_t kFileFailures = static_cast<size_t>(FileFailure::kLast) + 1;
inline constexpr std::array<std::string_view, kFileFailures> kFileFailureNames = {
    "no_right", "no_key", "io", "stale", "no_space", "no_memory"};

struct FileCounts {
  std::array<Latencies, kFileOperations> operations{};
  std::array<SharedCount, kFileFailures> failures{};
  SharedCount read_bytes{0}, written_bytes{0};
  // Handles that found their file's data key in memory, and those that had it
  // unwrapped.
  SharedCount keys_reused{0}, keys_unwrapped{0};
  SharedCount revoked_handles{0};              // that lost their right, or went stale
  SharedCount open_files{0}, open_handles{0};  // now
};

}  // namespace keyfold
