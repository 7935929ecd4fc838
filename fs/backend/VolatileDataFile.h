// VolatileDataFile: a DataFile that forgets, for tests of power loss. What was
// not synced when the power fails reaches the disk in part and in any order. No
// part of the program.
//
// A disk page of 4 KiB then holds what it held at the last Sync or after any
// change since, each page by itself; so does the size. That is what filesystems
// promise without a barrier.
//
// Owns: the file beneath and the former contents of unsynced pages, in memory:
// for small files. Thread-safe; mutex_ guards everything.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "fs/backend/DataFile.h"

namespace keyfold {

class VolatileDataFile : public DataFile {
 public:
  explicit VolatileDataFile(std::unique_ptr<DataFile> under)
      : under_(std::move(under)) {}

  // LosePower leaves in the file beneath what the disk would hold, chosen by
  // `seed`. Every later call fails with EIO.
  Status LosePower(unsigned seed);
  // Pages that hold something unsynced.
  size_t unsynced_pages() const;

  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) const override;
  Status WriteAt(uint64_t offset, ByteView data) override;
  Status Truncate(uint64_t size) override;
  Status Reserve(uint64_t offset, uint64_t size) override;
  Status Release(uint64_t offset, uint64_t size) override;
  Status Sync(bool data_only) override;
  Result<Info> Stat() const override;
  Status SetTimes(const timespec& accessed, const timespec& modified) override;

 private:
  using Page = Bytes;  // 4096 bytes, zeros behind the end of the file

  Result<Page> ReadPage(uint64_t page) const;
  // Change runs `change`, which touches the bytes from `begin` to `end`, and
  // keeps what their pages held before and after.
  Status Change(uint64_t begin, uint64_t end, const std::function<Status()>& change);
  Status Alive() const;

  mutable std::mutex mutex_;
  const std::unique_ptr<DataFile> under_;
  bool lost_ = false;
  // By page number: what it held at the last Sync, then after each change. The
  // same for the size; empty when it did not change.
  std::map<uint64_t, std::vector<Page>> pages_;
  std::vector<uint64_t> sizes_;
};

}  // namespace keyfold
