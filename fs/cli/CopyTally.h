// CopyTally: what a copy of a tree counts and tells as it goes, how fast it may, and
// whether it goes on.
//
// Owns: the counts, that one thing is told at a time, that what ends all is told once.
// Must not know: words, what is copied. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "fs/cli/RateLimit.h"
#include "kms/base/Status.h"

namespace keyfold {

struct TreeCopyCounts {
  uint64_t files = 0, bytes = 0;        // that were copied
  uint64_t there = 0, there_bytes = 0;  // files that needed nothing
  uint64_t folders = 0, links = 0,
           others = 0;  // made or there; links are symbolic ones
  uint64_t hard_links = 0;
  uint64_t mended = 0;     // of what was there: owner, mode, lists or attributes
  uint64_t conflicts = 0;  // other things that bear the name
  uint64_t failed = 0;     // refused, or failed
  uint64_t left_out = 0;
  uint64_t passed = 0;  // bytes read so far, of whatever file
};

// Called one at a time. `path` is that of the object in the source or the copy that
// the reason is about.
struct CopyListener {
  std::function<void(const std::string& path, const Status& why)> failed;
  std::function<void(const std::string& path, const std::string& what,
                     const Status& why)>
      lost;
  std::function<void(const std::string& path, const std::string& why)> left_out;
};

class CopyTally {
 public:
  CopyTally(const RateLimit& limit, CopyListener listener)
      : limit_(limit), listener_(std::move(listener)) {}

  TreeCopyCounts Counts() const;
  void Count(uint64_t TreeCopyCounts::*which, uint64_t by = 1);
  // Failed stops all when the next object would fail the same way.
  void Failed(const std::string& path, const Status& why);
  void Conflict(const std::string& path, const std::string& difference);
  void LeftOut(const std::string& path, const std::string& why);
  // WentAway leaves out what was in the source when its folder was read.
  void WentAway(const std::string& path) { LeftOut(path, "it went away meanwhile"); }
  void Lost(const std::string& path, const std::string& what, const Status& why);

  // Spend waits as the limit wants it; kSystem/ECANCELED when it was stopped.
  Status Spend(uint64_t bytes);
  void Stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }
  // What stopped all, if something did.
  Status failure() const;

 private:
  const RateLimit limit_;
  const CopyListener listener_;
  std::atomic<bool> stopped_{false};
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  // Guards what follows, and is held while something is told.
  mutable std::mutex mutex_;
  TreeCopyCounts counts_;
  Status failure_;
  uint64_t spent_ = 0;  // bytes
};

}  // namespace keyfold
