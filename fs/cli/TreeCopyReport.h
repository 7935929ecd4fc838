// TreeCopyReport: what `keyfold import` and `keyfold export` say as they go and at
// their end.
//
// Failures go to standard error, or with JSON to standard output, one object a line;
// the summary to standard output; progress to standard error. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "fs/cli/ProgressLine.h"
#include "fs/cli/TreeCopy.h"
#include "fs/vault/TreeSize.h"

namespace keyfold {

class TreeCopyReport {
 public:
  // `done` and `would` are the words for it: "Imported", "Would be imported".
  struct Words {
    std::string done, would;
  };
  TreeCopyReport(bool as_json, bool progress, Words words)
      : json_(as_json), progress_(progress), words_(std::move(words)) {}

  void Failed(const std::string& path, const Status& why);
  void LeftOut(const std::string& path, const std::string& why);
  // What could not be kept is told at the end, with one object as an example.
  void NotKept(const std::string& path, const std::string& what, const Status& why);
  // Of `size`, as far as it is known.
  void Progress(const TreeCopyCounts& counts, const TreeSize& size);
  // EndProgress makes way for other words.
  void EndProgress();
  struct End {
    bool dry_run, complete, read_back;
    int exit_code;
  };
  Status Summarize(const TreeCopyCounts& counts, const End& end);

 private:
  struct Loss {
    uint64_t objects = 0;
    std::string path, why;  // of the first
  };
  void Tell(const nlohmann::json& line, const std::string& text);
  std::string Text(const TreeCopyCounts& counts, const End& end) const;

  const bool json_, progress_;
  const Words words_;
  std::mutex mutex_;  // guards what follows
  ProgressLine line_;
  std::map<std::string, Loss> losses_;
};

}  // namespace keyfold
