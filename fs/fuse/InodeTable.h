// InodeTable: the inodes the kernel holds references to.
//
// Owns: an anchor of each and the name that last led to it.
// Must not know: keys. Thread-safe: mutex_ guards both maps and each Inode's
// ino, anchor, place and lookups.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/backend/Anchor.h"
#include "fs/vault/Vault.h"

namespace keyfold {

struct Inode {
  uint64_t node = 0;
  ino_t ino = 0;
  mode_t type = 0;
  std::shared_ptr<const Anchor> anchor;
  std::shared_ptr<Folder> folder;  // of a directory
  // The name that last led here; parent is null for the root, and when that
  // name is gone and no other has been looked up.
  std::shared_ptr<Inode> parent;
  std::string name;
  uint64_t lookups = 0;
  // Set when the kernel must look the object up again before it opens it.
  std::atomic<bool> detached{false};
  // The length the kernel believes a file has while no one has it open.
  std::atomic<uint64_t> size{0};
  // Where the furthest write of the kernel's cache ended that failed: the kernel
  // believes the file to reach there.
  std::atomic<uint64_t> lost_end{0};
};
using InodeRef = std::shared_ptr<Inode>;

class InodeTable {
 public:
  explicit InodeTable(InodeRef root);

  InodeRef Get(uint64_t node) const;
  // Known returns the inode of a backing object, or null.
  InodeRef Known(ino_t ino) const;
  // Files are the nodes of all regular files.
  std::vector<uint64_t> Files() const;
  // Add counts one lookup of `fresh`, or of the inode already known for the
  // same object, whose name becomes `parent`/`name`.
  InodeRef Add(InodeRef fresh, const InodeRef& parent, const std::string& name);
  void Forget(uint64_t node, uint64_t count);
  // Detach makes the next lookup of the object give a new inode, so that pages
  // of this one are never seen through it. Null if unknown.
  InodeRef Detach(ino_t ino);
  // Renamed gives the object its new name. A symbolic link is another object
  // then: `made_anew`, with its inode number, takes the place of the anchor.
  struct MadeAnew {
    std::shared_ptr<const Anchor> anchor;  // null when it is still the same object
    ino_t ino = 0;
  };
  void Renamed(ino_t ino, const InodeRef& parent, const std::string& name,
               const MadeAnew& made_anew);
  // Unnamed forgets the name, if it is the one that last led to the object.
  void Unnamed(ino_t ino, const InodeRef& parent, const std::string& name);

  // Hold gives an O_PATH descriptor of the object. kSystem/ESTALE when it is gone.
  Result<Anchor::Held> Hold(const InodeRef& inode) const;
  Place PlaceOf(const InodeRef& inode) const;
  std::string PathOf(const InodeRef& inode) const;
  std::string PathOf(const InodeRef& parent, const std::string& name) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, InodeRef> by_node_;
  std::unordered_map<ino_t, InodeRef> by_ino_;
  uint64_t next_node_ = 2;
};

}  // namespace keyfold
