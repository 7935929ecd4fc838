// WalkOrder: how far a walk of a tree has come, when several threads finish what it
// meets in any order.
//
// A position is the backing names that lead from the tree's root to an object. The walk
// goes through each folder by its entries' names, ascending, and meets a folder before
// what is in it. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

namespace keyfold {

using WalkPosition = std::vector<std::string>;

// WalkReached says what is done: all up to `through`, with it, and what is `beyond`.
struct WalkReached {
  WalkPosition through;  // empty: nothing
  std::vector<WalkPosition> beyond;
};

class WalkOrder {
 public:
  // `before` is what an earlier walk has done, which is not begun again.
  explicit WalkOrder(WalkReached before) : before_(std::move(before)) {}

  // Begin takes note of the next object the walk meets; Done of it, by its number, when
  // nothing is left to do. Begin waits while too many are open, until Close.
  uint64_t Begin(WalkPosition position);
  void Done(uint64_t number);
  void Close();
  WalkReached Reached() const;

 private:
  struct Object {
    WalkPosition position;
    bool done = false;
  };
  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable fewer_;
  WalkReached before_;
  uint64_t first_ = 0;  // the number of the first in open_
  std::deque<Object> open_;
  bool closed_ = false;
};

}  // namespace keyfold
