#include "kms/base/SecretBytes.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace keyfold {
namespace {

constexpr size_t kSlotSize = 64;
constexpr size_t kArenaSize = 64 * 1024;

// SecretArena hands out 64-byte slots from locked, undumpable pages, so that a
// thousand open files cost sixteen pages rather than a thousand. mutex_ guards
// free_slots_.
class SecretArena {
 public:
  uint8_t* Allocate() {
    std::lock_guard lock(mutex_);
    if (free_slots_.empty()) Grow();
    uint8_t* slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }
  void Free(uint8_t* slot) {
    std::lock_guard lock(mutex_);
    free_slots_.push_back(slot);
  }
  static SecretArena& Instance() {
    static auto* arena = new SecretArena;
    return *arena;
  }

 private:
  void Grow();
  std::mutex mutex_;
  std::vector<uint8_t*> free_slots_;
  size_t slots_ = 0;  // in use or free, and those that Grow could not map
};

uint8_t* MapSecretPages(size_t size) {
  void* pages =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  // Locking may exceed RLIMIT_MEMLOCK of an unprivileged mount; the pages then
  // stay out of dumps all the same.
  (void)mlock(pages, size);
  (void)madvise(pages, size, MADV_DONTDUMP);
  return static_cast<uint8_t*>(pages);
}

void SecretArena::Grow() {
  // Room for all slots there are, so that giving one back never allocates.
  slots_ += kArenaSize / kSlotSize;
  free_slots_.reserve(slots_);
  uint8_t* pages = MapSecretPages(kArenaSize);
  for (size_t at = 0; at < kArenaSize; at += kSlotSize)
    free_slots_.push_back(pages + at);
}

size_t RoundToPages(size_t size) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

}  // namespace

SecretBytes::SecretBytes(size_t size) : size_(size) {
  if (size == 0) return;
  data_ = size <= kSlotSize ? SecretArena::Instance().Allocate()
                            : MapSecretPages(RoundToPages(size));
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    Reset();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void SecretBytes::Reset() {
  if (data_ == nullptr) return;
  if (size_ <= kSlotSize) {
    explicit_bzero(data_, kSlotSize);
    SecretArena::Instance().Free(data_);
  } else {
    explicit_bzero(data_, size_);
    munmap(data_, RoundToPages(size_));
  }
  data_ = nullptr;
  size_ = 0;
}

}  // namespace keyfold
