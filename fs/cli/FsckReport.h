// FsckReport: what keyfold fsck says, as it goes and at its end.
//
// Findings and the summary go to standard output, as lines for people or as JSON, one
// object a line; progress goes to standard error. Safe for concurrent use.
#pragma once

#include <mutex>
#include <string>

#include "fs/cli/FsckState.h"
#include "fs/cli/ProgressLine.h"
#include "fs/vault/Finding.h"
#include "fs/vault/TreeSize.h"
#include "kms/base/Status.h"

namespace keyfold {

class FsckReport {
 public:
  // `before` is what an earlier check counted that this one goes on with; `incomplete`
  // is said at the end of one that does not look at all.
  FsckReport(bool as_json, bool progress, const FsckCounts& before,
             std::string_view incomplete)
      : json_(as_json),
        progress_(progress),
        before_(before),
        incomplete_(incomplete),
        found_(before) {}

  void Add(const Finding& finding);
  // Progress shows how far it is; `size` is all zero while that is not known. It does
  // not wait for standard output.
  void Progress(const FsckCounts& looked_at, const TreeSize& size);
  // EndProgress makes way for other words.
  void EndProgress();
  // Summarize shows the end of it; `complete` unless it was cut off.
  void Summarize(const FsckCounts& looked_at, bool complete, int exit_code);
  // Found counts findings, and what was counted before; what was looked at since is not
  // in it.
  FsckCounts Found() const;
  // Printed is the first failure to write.
  Status Printed() const;

 private:
  void Put(const std::string& text);

  const bool json_, progress_;
  const FsckCounts before_;
  const std::string_view incomplete_;
  mutable std::mutex mutex_;  // guards the rest
  FsckCounts found_;
  ProgressLine line_;
  Status printed_;
};

}  // namespace keyfold
