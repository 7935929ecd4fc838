#include "fs/backend/DataFile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace keyfold {
namespace {

Status Outcome(int result, const char* call) {
  return result == 0 ? OkStatus() : Status::FromErrno(errno, call);
}

}  // namespace

Result<size_t> PosixDataFile::ReadAt(uint64_t offset, MutableBytes out) const {
  return keyfold::ReadAt(fd_.get(), static_cast<off_t>(offset), out);
}

Result<bool> DataFile::ReadBoth(const Range& first, const Range& second) const {
  for (const Range& range : {first, second}) {
    KF_ASSIGN_OR_RETURN(const size_t n, ReadAt(range.offset, range.out));
    if (n != range.out.size()) return false;
  }
  return true;
}

Result<bool> PosixDataFile::ReadBoth(const Range& first, const Range& second) const {
  const iovec part{first.out.data(), first.out.size()};
  if (!first.out.empty() &&
      ::preadv2(fd_.get(), &part, 1, static_cast<off_t>(first.offset), RWF_NOWAIT) !=
          static_cast<ssize_t>(first.out.size())) {
    (void)::posix_fadvise(fd_.get(), static_cast<off_t>(second.offset),
                          static_cast<off_t>(second.out.size()), POSIX_FADV_WILLNEED);
    return DataFile::ReadBoth(first, second);
  }
  KF_ASSIGN_OR_RETURN(const size_t n, ReadAt(second.offset, second.out));
  return n == second.out.size();
}

void PosixDataFile::CountReads() {
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  if (flags >= 0) (void)::fcntl(fd_.get(), F_SETFL, flags & ~O_NOATIME);
}

Status PosixDataFile::WriteAt(uint64_t offset, ByteView data) {
  return keyfold::WriteAt(fd_.get(), static_cast<off_t>(offset), data);
}

Status PosixDataFile::Truncate(uint64_t size) {
  return Outcome(::ftruncate(fd_.get(), static_cast<off_t>(size)), "truncate");
}

Status PosixDataFile::Reserve(uint64_t offset, uint64_t size) {
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
