// FileCounts: what the process that serves files counts, for those who watch it.
//
// It lies in memory that both processes of a mount share: that process writes it, the
// one with the keys reads it and may not believe it. Numbers only, so there is nothing
// to parse. Must not know: who shows them. Lock-free.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

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

// Upper bounds of a histogram's buckets; what is above all of them is in the last.
inline constexpr std::array<std::chrono::microseconds, 8> kLatencyBounds = {
    std::chrono::microseconds(50),      std::chrono::microseconds(250),
    std::chrono::microseconds(1'000),   std::chrono::microseconds(5'000),
    std::chrono::microseconds(25'000),  std::chrono::microseconds(100'000),
    std::chrono::microseconds(500'000), std::chrono::microseconds(2'500'000)};

using SharedCount = std::atomic<uint64_t>;
static_assert(SharedCount::is_always_lock_free, "else it is no shared count");

// Up adds without ordering anything: nothing hangs on a count.
inline void Up(SharedCount& count, uint64_t by = 1) {
  count.fetch_add(by, std::memory_order_relaxed);
}

// On a cache line of its own, as threads count different operations at once.
struct alignas(64) Latencies {
  std::array<SharedCount, kLatencyBounds.size() + 1> buckets{};  // each by itself
  SharedCount nanoseconds{0};                                    // all together
};

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
