// DataFile: all that fs/vault does to the backing file of an open file, so that
// tests can put one there that fails, tears or forgets.
//
// Owns: the backing file's descriptor, or what stands for it. Must not know: the
// format of what is stored, keys, names. Thread-safe as pread and pwrite are:
// calls may run at once, and what overlapping writes leave is up to the caller.
//
// Errors are kSystem with the errno of the call that failed. A write that failed
// may have stored any part of its bytes.
#pragma once

#include <time.h>

#include <cstdint>
#include <utility>

#include "fs/backend/Backend.h"
#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

class DataFile {
 public:
  struct Info {
    uint64_t size = 0;  // bytes
    timespec accessed{};
    timespec modified{};
  };

  virtual ~DataFile() = default;

  // ReadAt returns how many bytes there were, less than asked only at the end.
  virtual Result<size_t> ReadAt(uint64_t offset, MutableBytes out) const = 0;
  // ReadBoth fills two ranges, waiting for the disk once if neither is in memory; false
  // when the file ends before one of them does.
  struct Range {
    uint64_t offset;
    MutableBytes out;
  };
  virtual Result<bool> ReadBoth(const Range& first, const Range& second) const;
  // CountReads lets reads from now on count as accesses to the file, as the backing
  // filesystem counts them; none do before.
  virtual void CountReads() {}
  // WriteAt stores all of `data`, growing the file when it ends behind it.
  virtual Status WriteAt(uint64_t offset, ByteView data) = 0;
  // Truncate cuts the file, or grows it by zeros.
  virtual Status Truncate(uint64_t size) = 0;
  // Reserve takes space for a range, wherever the file ends, and Release gives it
  // back, after which the range reads as zeros. Neither changes the file's size.
  // kSystem/EOPNOTSUPP where space is not to be had that way.
  virtual Status Reserve(uint64_t offset, uint64_t size) = 0;
  virtual Status Release(uint64_t offset, uint64_t size) = 0;
  // Sync returns once contents and size survive power loss; times too, unless
  // `data_only`.
  virtual Status Sync(bool data_only) = 0;
  virtual Result<Info> Stat() const = 0;
  // SetTimes sets the times of last access and modification.
  virtual Status SetTimes(const timespec& accessed, const timespec& modified) = 0;
};

// PosixDataFile is a file of the backing filesystem.
class PosixDataFile : public DataFile {
 public:
  explicit PosixDataFile(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) const override;
  Result<bool> ReadBoth(const Range& first, const Range& second) const override;
  void CountReads() override;
  Status WriteAt(uint64_t offset, ByteView data) override;
  Status Truncate(uint64_t size) override;
  Status Reserve(uint64_t offset, uint64_t size) override;
  Status Release(uint64_t offset, uint64_t size) override;
  Status Sync(bool data_only) override;
  Result<Info> Stat() const override;
  Status SetTimes(const timespec& accessed, const timespec& modified) override;

 private:
  const UniqueFd fd_;
};

}  // namespace keyfold
