// OpenFiles: the files that are open, and who has them open.
//
// Owns: one File per backing inode while any handle refers to it, so that a
// file's header and lock exist once; how many there are. Must not know: names, keys,
// who may. Thread-safe; mutex_ guards everything.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "fs/vault/File.h"
#include "kms/service/FileCounts.h"

namespace keyfold {

class OpenFiles {
 public:
  using Handles = std::vector<std::shared_ptr<Handle>>;

  OpenFiles(Checkpoints& checkpoints, FileCounts& counts)
      : checkpoints_(checkpoints), counts_(counts) {}

  // Join registers `handle` with the file of `ino`, which `open` provides when
  // none is open, and sets its `file` and `first`. kSystem/EAGAIN while the file
  // is being revoked: the caller asks again after that.
  Status Join(ino_t ino, const std::shared_ptr<Handle>& handle,
              const std::function<Result<std::unique_ptr<DataFile>>()>& open);
  // Add registers a new file and its first handle.
  void Add(const std::shared_ptr<File>& file, const std::shared_ptr<Handle>& handle);
  // Leave forgets the handle, and the file with its last one. A file that is not
  // settled stays, to be opened again or to be settled and dropped later: then false.
  bool Leave(const std::shared_ptr<Handle>& handle) noexcept;

  // DropUnused forgets the file if no handle refers to it and it is settled.
  void DropUnused(const std::shared_ptr<File>& file);

  std::shared_ptr<File> Find(ino_t ino) const;
  bool IsRevoking(ino_t ino) const;
  std::vector<std::shared_ptr<File>> All() const;
  Handles HandlesOf(const std::shared_ptr<File>& file) const;

  // BeginRevoke lets no one join from now on and returns the handles there are;
  // `detach` runs before anyone can see that. EndRevoke drops the file, handles
  // and all: the next to join gets a new one.
  Handles BeginRevoke(const std::shared_ptr<File>& file,
                      const std::function<void()>& detach);
  void EndRevoke(const std::shared_ptr<File>& file);

 private:
  struct Entry {
    std::shared_ptr<File> file;
    Handles handles;
    bool revoking = false;
  };
  bool DropUnusedLocked(const std::shared_ptr<File>& file);
  Entry* EntryOf(const std::shared_ptr<File>& file);
  void CountLocked();

  Checkpoints& checkpoints_;
  FileCounts& counts_;
  mutable std::mutex mutex_;
  std::map<ino_t, Entry> entries_;
  uint64_t handles_ = 0;  // in all entries
};

}  // namespace keyfold
