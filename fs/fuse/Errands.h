// Errands: a thread that serves no request and runs, one by one, what waits for
// the kernel to have requests served.
//
// Thread-safe; mutex_ guards what is posted.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <new>
#include <thread>

namespace keyfold {

class Errands {
 public:
  void Start() {
    thread_ = std::thread([this] { Run(); });
  }
  // Stop returns once all that was posted has been run.
  void Stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      wake_.notify_one();
    }
    thread_.join();
  }
  void Post(std::function<void()> errand) {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(errand));
    wake_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || !posted_.empty(); });
      if (posted_.empty()) return;
      const auto errand = std::move(posted_.front());
      posted_.pop_front();
      lock.unlock();
      try {
        errand();
      } catch (const std::bad_alloc&) {  // an errand answers for itself
      }
      lock.lock();
    }
  }

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> posted_;
  bool stopping_ = false;
};

}  // namespace keyfold
