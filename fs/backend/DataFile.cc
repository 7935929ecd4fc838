#include "fs/backend/DataFile.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/backend/Reserve.h"

namespace keyfold {
namespace {

Status Outcome(int result, const char* call) {
  return result == 0 ? OkStatus() : Status::FromErrno(errno, call);
}

}  // namespace

Result<size_t> PosixDataFile::ReadAt(uint64_t offset, MutableBytes out) const {
  return keyfold::ReadAt(fd_.get(), static_cast<off_t>(offset), out);
}

void PosixDataFile::CountReads() {
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  if (flags >= 0) (void)::fcntl(fd_.get(), F_SETFL, flags & ~O_NOATIME);
}

Status PosixDataFile::WriteAt(uint64_t offset, ByteView data) {
  const OutsideReserve outside;
  return keyfold::WriteAt(fd_.get(), static_cast<off_t>(offset), data);
}

Status PosixDataFile::Truncate(uint64_t size) {
  const OutsideReserve outside;
  return Outcome(::ftruncate(fd_.get(), static_cast<off_t>(size)), "truncate");
}

Status PosixDataFile::Reserve(uint64_t offset, uint64_t size) {
  const OutsideReserve outside;
  return Outcome(::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                             static_cast<off_t>(size)),
                 "reserve");
}

Status PosixDataFile::Release(uint64_t offset, uint64_t size) {
  return Outcome(::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                             static_cast<off_t>(offset), static_cast<off_t>(size)),
                 "release");
}

Status PosixDataFile::Sync(bool data_only) {
  return Outcome(data_only ? ::fdatasync(fd_.get()) : ::fsync(fd_.get()), "fsync");
}

Result<DataFile::Info> PosixDataFile::Stat() const {
  struct stat st;
  if (::fstat(fd_.get(), &st) != 0) return Status::FromErrno(errno, "stat");
  return Info{static_cast<uint64_t>(st.st_size), st.st_atim, st.st_mtim};
}

Status PosixDataFile::SetTimes(const timespec& accessed, const timespec& modified) {
  const timespec times[2] = {accessed, modified};
  return Outcome(::futimens(fd_.get(), times), "set times");
}

}  // namespace keyfold
