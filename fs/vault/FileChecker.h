// FileChecker: what a file's own bytes say, whatever its name.
//
// Owns: how the verdict on a backing file is come to. Must not know: folders, who
// checks. Thread-safe.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fs/vault/Checkpoints.h"
#include "fs/vault/File.h"
#include "fs/vault/Finding.h"
#include "kms/service/StoreCheck.h"

namespace keyfold {

struct Fault {
  FindingKind kind;
  std::string why;
  std::optional<ByteRange> range;
};

struct FileVerdict {
  std::optional<FileId> id;  // once the header authenticates
  std::vector<Fault> faults;
};

class FileChecker {
 public:
  // Proceed is told how many bytes were passed, and says whether to go on.
  using Proceed = std::function<bool(uint64_t)>;

  FileChecker(std::string store_id, StoreCheck& keys, Checkpoints& checkpoints)
      : store_id_(std::move(store_id)), keys_(keys), checkpoints_(checkpoints) {}

  // Check looks at the regular file that the O_PATH descriptor refers to; at its blocks
  // too if `contents`. kSystem when a key's use cannot be recorded.
  Result<FileVerdict> Check(int path_fd, bool contents, const Proceed& proceed) const;
  // RestoreSlot writes the header slot that authenticates over the other. The file's
  // times stay.
  Status RestoreSlot(int path_fd) const;

 private:
  struct Opened;
  Result<Opened> Open(int path_fd, int flags) const;

  const std::string store_id_;
  StoreCheck& keys_;
  Checkpoints& checkpoints_;
};

}  // namespace keyfold
