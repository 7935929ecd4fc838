// Folder: one encrypted directory, its identity and the CMK of its new files.
//
// Owns: an O_PATH descriptor of the backing directory and its names' encoding.
// Thread-safe; mutex_ guards key_id_.
#pragma once

#include <dirent.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fs/backend/Backend.h"
#include "fs/format/Folder.h"
#include "fs/format/Names.h"
#include "fs/vault/VaultKeys.h"

namespace keyfold {

// The attributes of fs/format/Folder.h, read from and written to an object of
// the backing store. kCorrupt unless they are there and authenticate.
Result<FolderDescriptor> ReadFolderDescriptor(const VaultKeys& keys, int fd);
Status WriteFolderDescriptor(const VaultKeys& keys, int fd,
                             const FolderDescriptor& folder);
Result<FileNames> ReadFileNames(int fd);
Status WriteFileNames(int fd, const FileNames& names);

class Folder {
 public:
  Folder(const VaultKeys& keys, UniqueFd fd, FolderDescriptor descriptor)
      : keys_(keys),
        fd_(std::move(fd)),
        id_(descriptor.id),
        key_id_(std::move(descriptor.key_id)) {}

  int fd() const { return fd_.get(); }
  const FolderId& id() const { return id_; }
  std::string key_id() const {
    std::lock_guard lock(mutex_);
    return key_id_;
  }
  void set_key_id(std::string key_id) {
    std::lock_guard lock(mutex_);
    key_id_ = std::move(key_id);
  }

  // BackingName encrypts `name`; kSystem/ENAMETOOLONG above 255 bytes,
  // kSystem/EINVAL for a name no entry may have.
  Result<std::string> BackingName(std::string_view name) const;
  // KeepLongName makes the sidecar of a long name, before its entry is made;
  // DropLongName removes it, after the entry is gone. Short names need none.
  Status KeepLongName(const std::string& backing, std::string_view name) const;
  void DropLongName(const std::string& backing) const;
  // SweepLeftovers removes what a killed daemon left behind: temporary entries
  // and sidecars without an entry. For a folder whose removal found it not empty.
  static void SweepLeftovers(int folder);
  // PlainName decrypts an entry's name: nothing for entries that are not the
  // vault's (sidecars, temporary or planted ones).
  std::optional<std::string> PlainName(const std::string& backing) const;
  // SymlinkTarget decrypts the text of the symbolic link `name`. kCorrupt.
  Result<std::string> SymlinkTarget(std::string_view name,
                                    const std::string& text) const;

 private:
  const VaultKeys& keys_;
  const UniqueFd fd_;
  const FolderId id_;
  mutable std::mutex mutex_;
  std::string key_id_;
};

}  // namespace keyfold
