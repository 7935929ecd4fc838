#include "fs/vault/WalkOrder.h"

namespace keyfold {
namespace {

constexpr size_t kMostOpen = 1 << 16;

}  // namespace

uint64_t WalkOrder::Begin(WalkPosition position) {
  std::unique_lock lock(mutex_);
  fewer_.wait(lock, [&] { return closed_ || open_.size() < kMostOpen; });
  open_.push_back({std::move(position)});
  return first_ + open_.size() - 1;
}

void WalkOrder::Done(uint64_t number) {
  const std::lock_guard lock(mutex_);
  open_[number - first_].done = true;
  while (!open_.empty() && open_.front().done) {
    before_.through = std::move(open_.front().position);
    open_.pop_front();
    ++first_;
  }
  fewer_.notify_all();
}

void WalkOrder::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  fewer_.notify_all();
}

WalkReached WalkOrder::Reached() const {
  const std::lock_guard lock(mutex_);
  WalkReached reached = before_;
  for (const Object& object : open_)
    if (object.done) reached.beyond.push_back(object.position);
  return reached;
}

}  // namespace keyfold
