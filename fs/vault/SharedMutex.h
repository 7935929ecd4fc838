// SharedMutex: std::shared_mutex, but who wants it exclusively does not wait for
// those who come later to share it. glibc's default lets readers starve a writer. Work
// on a block is shorter than going to sleep and being woken, so it is awaited awake for
// a moment.
//
// A thread must not take it twice.
#pragma once

#include <pthread.h>

#include <cstdlib>

namespace keyfold {

class SharedMutex {
 public:
  SharedMutex() {
    pthread_rwlockattr_t attributes;
    Check(::pthread_rwlockattr_init(&attributes));
    Check(::pthread_rwlockattr_setkind_np(
        &attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
    Check(::pthread_rwlock_init(&lock_, &attributes));
    Check(::pthread_rwlockattr_destroy(&attributes));
  }
  ~SharedMutex() { ::pthread_rwlock_destroy(&lock_); }
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  // The names that std::unique_lock and std::shared_lock call.
  void lock() {
    if (!Spin(&SharedMutex::try_lock)) Check(::pthread_rwlock_wrlock(&lock_));
  }
  bool try_lock() { return ::pthread_rwlock_trywrlock(&lock_) == 0; }
  void unlock() { Check(::pthread_rwlock_unlock(&lock_)); }
  void lock_shared() {
    if (!Spin(&SharedMutex::try_lock_shared)) Check(::pthread_rwlock_rdlock(&lock_));
  }
  bool try_lock_shared() { return ::pthread_rwlock_tryrdlock(&lock_) == 0; }
  void unlock_shared() { Check(::pthread_rwlock_unlock(&lock_)); }

 private:
  bool Spin(bool (SharedMutex::*attempt)()) {
    constexpr int kAttempts = 300;  // some 10 us
    for (int i = 0; i < kAttempts; ++i) {
      if ((this->*attempt)()) return true;
      Pause();
    }
    return false;
  }
  static void Pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  static void Check(int error) {
    if (error != 0) std::abort();
  }

  pthread_rwlock_t lock_;
};

}  // namespace keyfold
