// Anchor: a lasting reference to an object of the backing store.
//
// Each inode the kernel knows has one, and there may be more of those than a
// process may have descriptors. So an anchor holds an O_PATH descriptor while the
// budget lasts, and beyond that a file handle (open_by_handle_at(2)), from which a
// descriptor is opened for each use. A handle names inode and generation: it never
// leads to another object, but does not keep its own from going. Without
// CAP_DAC_READ_SEARCH, or on a filesystem without handles, every anchor holds a
// descriptor.
//
// Thread-safe: an Anchor does not change.
#pragma once

#include <atomic>
#include <memory>

#include "fs/backend/Backend.h"
#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// DescriptorBudget is how many descriptors the anchors of one store may hold.
class DescriptorBudget {
 public:
  // `mount` is a descriptor of the store, not O_PATH, by which handles are opened.
  DescriptorBudget(UniqueFd mount, size_t most)
      : mount_(std::move(mount)), most_(most) {}
  int mount() const { return mount_.get(); }
  bool Take();
  void Give() { --held_; }
  size_t held() const { return held_; }

 private:
  const UniqueFd mount_;
  const size_t most_;
  std::atomic<size_t> held_{0};
};

class Anchor {
 public:
  // Held is a descriptor for as long as it lives.
  class Held {
   public:
    int get() const { return owned_.valid() ? owned_.get() : borrowed_; }

   private:
    friend class Anchor;
    UniqueFd owned_;
    int borrowed_ = -1;
    std::shared_ptr<const Anchor> lender_;
  };

  // Of takes over the O_PATH descriptor of an object on the store.
  static std::shared_ptr<const Anchor> Of(std::shared_ptr<DescriptorBudget> budget,
                                          UniqueFd fd);
  ~Anchor();
  Anchor(const Anchor&) = delete;
  Anchor& operator=(const Anchor&) = delete;

  // IsAlive tells whether the anchor still leads to its object.
  static bool IsAlive(const std::shared_ptr<const Anchor>& anchor) {
    return anchor->handle_.empty() || Hold(anchor).ok();
  }
  // Hold gives an O_PATH descriptor of the object. kSystem/ESTALE when it is gone.
  static Result<Held> Hold(const std::shared_ptr<const Anchor>& anchor);

 private:
  explicit Anchor(std::shared_ptr<DescriptorBudget> budget)
      : budget_(std::move(budget)) {}

  const std::shared_ptr<DescriptorBudget> budget_;
  UniqueFd fd_;
  bool counted_ = false;
  Bytes handle_;  // a struct file_handle; empty while fd_ is held
};

}  // namespace keyfold
