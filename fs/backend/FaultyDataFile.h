// FaultyDataFile: a DataFile whose chosen call fails, for tests of what a failing
// disk leaves behind. No part of the program.
//
// Owns: the file beneath, which sees every call but the failing one. Thread-safe
// as the file beneath is, but for InjectFault.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "fs/backend/DataFile.h"

namespace keyfold {

// Fault says which call fails, and how.
struct Fault {
  uint64_t call = 0;  // counted from 1 since the fault was injected
  int error = 0;      // errno of the failing call
  // A failing write first stores the first half of the pages it touches, as the
  // kernel does, which gives up between pages.
  bool tear = false;
  // Later calls fail alike, as on a disk that has died.
  bool lasts = false;
};

class FaultyDataFile : public DataFile {
 public:
  explicit FaultyDataFile(std::unique_ptr<DataFile> under) : under_(std::move(under)) {}

  // InjectFault begins to count anew; nothing fails without a fault.
  void InjectFault(std::optional<Fault> fault);
  // SetCapacity makes the disk full: writes that end behind `bytes` store what
  // fits, in whole pages, and fail with ENOSPC.
  void SetCapacity(uint64_t bytes) { capacity_ = bytes; }
  // The calls made since the fault was injected.
  uint64_t calls() const { return calls_; }

  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) const override;
  Status WriteAt(uint64_t offset, ByteView data) override;
  Status Truncate(uint64_t size) override;
  Status Reserve(uint64_t offset, uint64_t size) override;
  Status Release(uint64_t offset, uint64_t size) override;
  Status Sync(bool data_only) override;
  Result<Info> Stat() const override;
  Status SetTimes(const timespec& accessed, const timespec& modified) override;

 private:
  // Count notes a call and tells whether it is to fail.
  bool Count() const;
  Status Failure(const char* call) const;

  const std::unique_ptr<DataFile> under_;
  std::optional<Fault> fault_;
  uint64_t capacity_ = UINT64_MAX;
  mutable std::atomic<uint64_t> calls_{0};
};

}  // namespace keyfold
