#include "fs/backend/VolatileDataFile.h"

#include <errno.h>

#include <algorithm>
#include <random>

namespace keyfold {
namespace {

constexpr uint64_t kDiskPage = 4096;

}  // namespace

Status VolatileDataFile::Alive() const {
  return lost_ ? Status::FromErrno(EIO, "the power is gone") : OkStatus();
}

Result<VolatileDataFile::Page> VolatileDataFile::ReadPage(uint64_t page) const {
  Page held(kDiskPage);
  KF_ASSIGN_OR_RETURN(const size_t n, under_->ReadAt(page * kDiskPage, held));
  std::fill(held.begin() + static_cast<long>(n), held.end(), uint8_t{0});
  return held;
}

Status VolatileDataFile::Change(uint64_t begin, uint64_t end,
                                const std::function<Status()>& change) {
  KF_RETURN_IF_ERROR(Alive());
  const uint64_t first = begin / kDiskPage;
  const uint64_t behind = (end + kDiskPage - 1) / kDiskPage;
  KF_ASSIGN_OR_RETURN(const Info before, under_->Stat());
  for (uint64_t page = first; page < behind; ++page) {
    if (pages_.contains(page)) continue;
    KF_ASSIGN_OR_RETURN(Page held, ReadPage(page));
    pages_[page].push_back(std::move(held));
  }
  const Status changed = change();
  for (uint64_t page = first; page < behind; ++page) {
    KF_ASSIGN_OR_RETURN(Page held, ReadPage(page));
    pages_[page].push_back(std::move(held));
  }
  KF_ASSIGN_OR_RETURN(const Info after, under_->Stat());
  if (after.size != before.size) {
    if (sizes_.empty()) sizes_.push_back(before.size);
    sizes_.push_back(after.size);
  }
  return changed;
}

Status VolatileDataFile::LosePower(unsigned seed) {
  std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(Alive());
  lost_ = true;
  std::mt19937 random(seed);
  KF_ASSIGN_OR_RETURN(const Info now, under_->Stat());
  uint64_t size = now.size;
  if (!sizes_.empty()) size = sizes_[random() % sizes_.size()];
  KF_RETURN_IF_ERROR(under_->Truncate(size));
  for (const auto& [page, versions] : pages_) {
    const Page& held = versions[random() % versions.size()];
    const uint64_t begin = page * kDiskPage;
    if (begin >= size) continue;
    const ByteView kept = ByteView(held).first(std::min(kDiskPage, size - begin));
    KF_RETURN_IF_ERROR(under_->WriteAt(begin, kept));
  }
  return OkStatus();
}

size_t VolatileDataFile::unsynced_pages() const {
  std::lock_guard lock(mutex_);
  return pages_.size();
}

Result<size_t> VolatileDataFile::ReadAt(uint64_t offset, MutableBytes out) const {
  std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(Alive());
  return under_->ReadAt(offset, out);
}

Status VolatileDataFile::WriteAt(uint64_t offset, ByteView data) {
  std::lock_guard lock(mutex_);
  return Change(offset, offset + data.size(),
                [&] { return under_->WriteAt(offset, data); });
}

Status VolatileDataFile::Truncate(uint64_t size) {
  std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(Alive());
  KF_ASSIGN_OR_RETURN(const Info info, under_->Stat());
  // Growing changes no page: what is behind the end counts as zeros already.
  return Change(std::min(size, info.size), info.size,
                [&] { return under_->Truncate(size); });
}

Status VolatileDataFile::Reserve(uint64_t offset, uint64_t size) {
  std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(Alive());
  return under_->Reserve(offset, size);
}

Status VolatileDataFile::Release(uint64_t offset, uint64_t size) {
  std::lock_guard lock(mutex_);
  return Change(offset, offset + size, [&] { return under_->Release(offset, size); });
}

Status VolatileDataFile::Sync(bool data_only) {
  std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(Alive());
  (void)data_only;  // no real power fails
  pages_.clear();
  sizes_.clear();
  return OkStatus();
}

Result<DataFile::Info> VolatileDataFile::Stat() const {
  std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(Alive());
  return under_->Stat();
}

Status VolatileDataFile::SetTimes(const timespec& accessed, const timespec& modified) {
  std::lock_guard lock(mutex_);
  KF_RETURN_IF_ERROR(Alive());
  return under_->SetTimes(accessed, modified);
}

}  // namespace keyfold
