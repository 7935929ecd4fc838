#include "fs/fuse/InodeTable.h"

#include <algorithm>

namespace keyfold {

namespace {

// LetGo frees an inode, and the folders above it that only it kept, one by one: a
// chain of many would overflow the stack.
void LetGo(InodeRef inode) {
  while (inode && inode.use_count() == 1) {
    InodeRef parent = std::move(inode->parent);
    inode = std::move(parent);
  }
}

}  // namespace

InodeTable::InodeTable(InodeRef root) {
  by_ino_[root->ino] = root;
  by_node_[root->node] = std::move(root);
}

InodeRef InodeTable::Get(uint64_t node) const {
  std::lock_guard lock(mutex_);
  const auto it = by_node_.find(node);
  return it == by_node_.end() ? nullptr : it->second;
}

InodeRef InodeTable::Known(ino_t ino) const {
  std::lock_guard lock(mutex_);
  const auto it = by_ino_.find(ino);
  return it == by_ino_.end() ? nullptr : it->second;
}

std::vector<uint64_t> InodeTable::Files() const {
  std::vector<uint64_t> files;
  std::lock_guard lock(mutex_);
  for (const auto& [node, inode] : by_node_)
    if (S_ISREG(inode->type)) files.push_back(node);
  return files;
}

InodeRef InodeTable::Add(InodeRef fresh, const InodeRef& parent,
                         const std::string& name) {
  InodeRef added, former;
  {
    std::lock_guard lock(mutex_);
    InodeRef& slot = by_ino_[fresh->ino];
    // Without a descriptor that keeps it, an object may be gone and its number be
    // another's.
    if (slot == nullptr || !Anchor::IsAlive(slot->anchor)) {
      fresh->node = next_node_++;
      by_node_[fresh->node] = fresh;
      slot = std::move(fresh);
    }
    former = std::exchange(slot->parent, parent);
    slot->name = name;
    ++slot->lookups;
    added = slot;
  }
  LetGo(std::move(former));
  return added;
}

void InodeTable::Forget(uint64_t node, uint64_t count) {
  InodeRef gone;
  {
    std::lock_guard lock(mutex_);
    const auto it = by_node_.find(node);
    if (it == by_node_.end() || node == 1) return;
    Inode& inode = *it->second;
    inode.lookups -= std::min(inode.lookups, count);
    if (inode.lookups > 0) return;
    gone = std::move(it->second);
    by_node_.erase(it);
    const auto known = by_ino_.find(gone->ino);
    if (known != by_ino_.end() && known->second == gone) by_ino_.erase(known);
  }
  LetGo(std::move(gone));
}

InodeRef InodeTable::Detach(ino_t ino) {
  std::lock_guard lock(mutex_);
  const auto it = by_ino_.find(ino);
  if (it == by_ino_.end() || !it->second) return nullptr;
  InodeRef inode = it->second;
  inode->detached = true;
  by_ino_.erase(it);
  return inode;
}

void InodeTable::Renamed(ino_t ino, const InodeRef& parent, const std::string& name,
                         const MadeAnew& made_anew) {
  std::lock_guard lock(mutex_);
  const auto it = by_ino_.find(ino);
  if (it == by_ino_.end() || !it->second) return;
  const InodeRef inode = it->second;
  inode->parent = parent;
  inode->name = name;
  if (!made_anew.anchor) return;
  by_ino_.erase(it);
  inode->anchor = made_anew.anchor;
  inode->ino = made_anew.ino;
  by_ino_[made_anew.ino] = inode;
}

void InodeTable::Unnamed(ino_t ino, const InodeRef& parent, const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto it = by_ino_.find(ino);
  if (it == by_ino_.end() || !it->second || it->second->parent != parent ||
      it->second->name != name)
    return;
  it->second->parent = nullptr;
  it->second->name.clear();
}

Result<Anchor::Held> InodeTable::Hold(const InodeRef& inode) const {
  std::shared_ptr<const Anchor> anchor;
  {
    std::lock_guard lock(mutex_);
    anchor = inode->anchor;
  }
  return Anchor::Hold(anchor);
}

Place InodeTable::PlaceOf(const InodeRef& inode) const {
  std::lock_guard lock(mutex_);
  return {inode->parent ? inode->parent->folder : nullptr, inode->name};
}

std::string InodeTable::PathOf(const InodeRef& inode) const {
  // Only the end of a very long path is told.
  constexpr size_t kLongest = 4096;
  std::vector<std::string> names;
  size_t size = 0;
  {
    std::lock_guard lock(mutex_);
    const Inode* at = inode.get();
    for (; at->parent != nullptr && size < kLongest; at = at->parent.get()) {
      size += at->name.size() + 1;
      names.push_back(at->name);
    }
    if (at->parent != nullptr) names.push_back("...");
  }
  if (names.empty()) return "/";
  std::string path;
  for (size_t i = names.size(); i-- > 0;) path += "/" + names[i];
  return path;
}

std::string InodeTable::PathOf(const InodeRef& parent, const std::string& name) const {
  const std::string folder = PathOf(parent);
  return folder == "/" ? "/" + name : folder + "/" + name;
}

}  // namespace keyfold
