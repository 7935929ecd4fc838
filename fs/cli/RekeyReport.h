// RekeyReport: what `keyfold rekey` says as it goes and at its end.
//
// Failures go to standard error, or with JSON to standard output, one object a line;
// the summary to standard output; progress to standard error. Not synchronised.
#pragma once

#include <optional>
#include <string>

#include "fs/cli/KeySpeed.h"
#include "fs/cli/ProgressLine.h"
#include "fs/cli/Rekey.h"
#include "fs/vault/TreeSize.h"

namespace keyfold {

class RekeyReport {
 public:
  // `progress` shows how far it is; of `size` if files or bytes of it are known.
  RekeyReport(bool as_json, bool progress, bool reencrypt, const TreeSize& size)
      : json_(as_json), progress_(progress), reencrypt_(reencrypt), size_(size) {}

  void Refused(const std::string& path, const Status& why);
  void Progress(const RekeyCounts& counts);
  Status Summarize(const RekeyCounts& counts, int exit_code);
  // WhatWouldBe is the summary of a dry run.
  Status WhatWouldBe(const RekeyCounts& counts, const std::optional<KeySpeed>& speed);

 private:
  const bool json_, progress_, reencrypt_;
  const TreeSize size_;
  ProgressLine line_;
};

}  // namespace keyfold
