#include "fs/backend/FaultyDataFile.h"

#include <errno.h>

#include <algorithm>

namespace keyfold {
namespace {

constexpr uint64_t kDiskPage = 4096;

// What of `data` at `offset` lies before `end`, a page's beginning.
ByteView Before(uint64_t end, uint64_t offset, ByteView data) {
  return data.first(end <= offset ? 0 : std::min<uint64_t>(data.size(), end - offset));
}

}  // namespace

void FaultyDataFile::InjectFault(std::optional<Fault> fault) {
  fault_ = fault;
  calls_ = 0;
}

bool FaultyDataFile::Count() const {
  const uint64_t call = ++calls_;
  return fault_ && (call == fault_->call || (fault_->lasts && call > fault_->call));
}

Status FaultyDataFile::Failure(const char* call) const {
  return Status::FromErrno(fault_->error, call);
}

Result<size_t> FaultyDataFile::ReadAt(uint64_t offset, MutableBytes out) const {
  if (Count()) return Failure("read");
  return under_->ReadAt(offset, out);
}

Status FaultyDataFile::WriteAt(uint64_t offset, ByteView data) {
  if (Count()) {
    const uint64_t first = offset / kDiskPage;
    const uint64_t pages = (offset + data.size() + kDiskPage - 1) / kDiskPage - first;
    const ByteView stored = Before((first + pages / 2) * kDiskPage, offset, data);
    if (fault_->tear && !stored.empty())
      KF_RETURN_IF_ERROR(under_->WriteAt(offset, stored));
    return Failure("write");
  }
  if (offset + data.size() > capacity_) {
    const ByteView stored = Before(capacity_ / kDiskPage * kDiskPage, offset, data);
    if (!stored.empty()) KF_RETURN_IF_ERROR(under_->WriteAt(offset, stored));
    return Status::FromErrno(ENOSPC, "write");
  }
  return under_->WriteAt(offset, data);
}

Status FaultyDataFile::Truncate(uint64_t size) {
  if (Count()) return Failure("truncate");
  return under_->Truncate(size);
}

Status FaultyDataFile::Reserve(uint64_t offset, uint64_t size) {
  if (Count()) return Failure("reserve");
  if (offset + size > capacity_) return Status::FromErrno(ENOSPC, "reserve");
  return under_->Reserve(offset, size);
}

Status FaultyDataFile::Release(uint64_t offset, uint64_t size) {
  if (Count()) return Failure("release");
  return under_->Release(offset, size);
}

Status FaultyDataFile::Sync(bool data_only) {
  if (Count()) return Failure("fsync");
  return under_->Sync(data_only);
}

Result<DataFile::Info> FaultyDataFile::Stat() const {
  if (Count()) return Failure("stat");
  return under_->Stat();
}

Status FaultyDataFile::SetTimes(const timespec& accessed, const timespec& modified) {
  if (Count()) return Failure("set times");
  return under_->SetTimes(accessed, modified);
}

}  // namespace keyfold
