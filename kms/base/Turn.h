// Turn: what few may do at a time; it waits until one of them is done. Thread-safe.
#pragma once

#include <semaphore>

namespace keyfold {

class Turn {
 public:
  using Few = std::counting_semaphore<2>;
  // None is waited for with null.
  explicit Turn(Few* few) : few_(few) {
    if (few_ != nullptr) few_->acquire();
  }
  ~Turn() {
    if (few_ != nullptr) few_->release();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Few* const few_;
};

}  // namespace keyfold
