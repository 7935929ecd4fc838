#include "fs/backend/Anchor.h"

#include <cstring>

namespace keyfold {
namespace {

// HandleOf returns the bytes of a struct file_handle, or nothing where there are
// no handles.
Bytes HandleOf(int fd) {
  Bytes bytes(sizeof(struct file_handle) + MAX_HANDLE_SZ);
  auto* handle = reinterpret_cast<struct file_handle*>(bytes.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (::name_to_handle_at(fd, "", handle, &mount, AT_EMPTY_PATH) != 0) return {};
  bytes.resize(sizeof(struct file_handle) + handle->handle_bytes);
  return bytes;
}

Result<UniqueFd> OpenHandle(int mount, const Bytes& handle) {
  // The call takes a pointer that is not const.
  Bytes copy = handle;
  const int fd =
      ::open_by_handle_at(mount, reinterpret_cast<struct file_handle*>(copy.data()),
                          O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, "open by handle");
  return UniqueFd(fd);
}

}  // namespace

bool DescriptorBudget::Take() {
  if (held_.fetch_add(1) < most_) return true;
  --held_;
  return false;
}

std::shared_ptr<const Anchor> Anchor::Of(std::shared_ptr<DescriptorBudget> budget,
                                         UniqueFd fd) {
  std::shared_ptr<Anchor> anchor(new Anchor(std::move(budget)));
  anchor->counted_ = anchor->budget_->Take();
  if (!anchor->counted_) {
    anchor->handle_ = HandleOf(fd.get());
    // Tried at once: a descriptor that is not given up can't be lost.
    if (!anchor->handle_.empty() &&
        OpenHandle(anchor->budget_->mount(), anchor->handle_).ok())
      return anchor;
    anchor->handle_.clear();
  }
  anchor->fd_ = std::move(fd);
  return anchor;
}

Anchor::~Anchor() {
  if (counted_) budget_->Give();
}

Result<Anchor::Held> Anchor::Hold(const std::shared_ptr<const Anchor>& anchor) {
  Held held;
  if (anchor->handle_.empty()) {
    held.borrowed_ = anchor->fd_.get();
    held.lender_ = anchor;
    return held;
  }
  KF_ASSIGN_OR_RETURN(held.owned_,
                      OpenHandle(anchor->budget_->mount(), anchor->handle_));
  return held;
}

}  // namespace keyfold
