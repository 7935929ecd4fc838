// Workers: threads that do what one thread hands out.
//
// Hand waits while much is waiting. Tasks must not throw.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace keyfold {

class Workers {
 public:
  explicit Workers(unsigned count) : most_(4 * std::max(1u, count)) {
    for (unsigned i = 0; i < std::max(1u, count); ++i)
      threads_.emplace_back([this] { Work(); });
  }
  // The destructor waits until all is done.
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void Hand(std::function<void()> task) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return tasks_.size() < most_; });
      tasks_.push_back(std::move(task));
    }
    changed_.notify_all();
  }

 private:
  void Work() {
    for (;;) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ended_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      changed_.notify_all();
      task();
    }
  }

  const size_t most_;
  std::mutex mutex_;  // guards the next two
  std::deque<std::function<void()>> tasks_;
  bool ended_ = false;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
};

}  // namespace keyfold
