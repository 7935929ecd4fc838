// Latencies: how long calls of one kind took, as a histogram.
//
// Must not know: what is called, who shows it. Lock-free; it may lie in memory that
// processes share.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace keyfold {

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

  void Note(std::chrono::steady_clock::duration took) {
    size_t bucket = 0;
    while (bucket < kLatencyBounds.size() && took > kLatencyBounds[bucket]) ++bucket;
    Up(buckets[bucket]);
    Up(nanoseconds, static_cast<uint64_t>(took / std::chrono::nanoseconds(1)));
  }
};

}  // namespace keyfold
