// SizeAhead: measures a tree in a thread of its own, for a guess of the time left.
#pragma once

#include <atomic>
#include <future>
#include <string>

#include "fs/vault/TreeSize.h"

namespace keyfold {

class SizeAhead {
 public:
  SizeAhead(const std::string& path, MeasuredBytes bytes)
      : size_(std::async(std::launch::async, [this, path, bytes] {
          return MeasureTree(path, bytes, stop_);
        })) {}
  ~SizeAhead() { stop_ = true; }  // the future's end waits for it
  SizeAhead(const SizeAhead&) = delete;
  SizeAhead& operator=(const SizeAhead&) = delete;

  // All zero while it is not known.
  TreeSize Known() {
    if (size_.valid() &&
        size_.wait_for(std::chrono::seconds(0)) == std::future_status::ready)
      known_ = size_.get();
    return known_;
  }

 private:
  std::atomic<bool> stop_{false};
  TreeSize known_;
  std::future<TreeSize> size_;
};

}  // namespace keyfold
