// WholeFile: a copy of one regular file that has its name only when it is whole,
// synced, and was read back.
//
// Must not know: trees, who asks. Free functions, thread-safe.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>

#include "fs/cli/KeptAttributes.h"
#include "kms/base/Status.h"

namespace keyfold {

struct WholeFileOptions {
  Keeping keeping;
  bool read_back = true;   // and compare with what was read from the source
  bool overwrite = false;  // what bears the name
  uint64_t part = 0;       // how many bytes to copy at once, at most; 0: any
  // Called after so many bytes were copied, or (`again`) read to compare: an error ends
  // the work.
  std::function<Status(uint64_t bytes, bool again)> passed;
  Lost lost;
};

// Where a file is, or is to be: a name in a folder.
struct FilePlace {
  int folder;
  const std::string& name;
};

// MakeWholeFile copies the file that `st` was found of. kSystem/EEXIST when the name is
// taken, kSystem/EAGAIN when the source changed meanwhile, kCorrupt when other contents
// were read back than written. On failure nothing is left, and `of_source` tells whose
// it is.
Status MakeWholeFile(const FilePlace& from, const struct stat& st, const FilePlace& to,
                     const WholeFileOptions& options, bool* of_source);
// CompareContents reads both, `to` past the kernel's cache. The descriptors are of what
// was read.
struct ComparedFiles {
  bool same = false;
  UniqueFd source, copy;
};
Result<ComparedFiles> CompareContents(const FilePlace& from, const struct stat& st,
                                      const FilePlace& to,
                                      const WholeFileOptions& options);

// OpenSource opens for reading; if it may, without moving the time of access.
Result<UniqueFd> OpenSource(int folder, const std::string& name, int flags);

}  // namespace keyfold
