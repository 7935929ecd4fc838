#include "fs/fuse/InodeTable.h"

namespace keyfold {

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

InodeRef InodeTable::Add(InodeRef fresh, const InodeRef& parent,
                         const std::string& name) {
  std::lock_guard lock(mutex_);
  InodeRef& slot = by_ino_[fresh->ino];
  if (slot == nullptr) {
    fresh->node = next_node_++;
    by_node_[fresh->node] = fresh;
    slot = std::move(fresh);
  }
  if (slot->parent != nullptr || slot->node != 1) {
    slot->parent = parent;
    slot->name = name;
  }
  ++slot->lookups;
  return slot;
}

void InodeTable::Forget(uint64_t node, uint64_t count) {
  InodeRef gone;  // freed after the lock is released
  std::lock_guard lock(mutex_);
  const auto it = by_node_.find(node);
  if (it == by_node_.end() || node == 1) return;
  Inode& inode = *it->second;
  inode.lookups -= std::min(inode.lookups, count);
  if (inode.lookups > 0) return;
  gone = it->second;
  by_node_.erase(it);
  const auto known = by_ino_.find(gone->ino);
  if (known != by_ino_.end() && known->second == gone) by_ino_.erase(known);
}

InodeRef InodeTable::Detach(ino_t ino) {
  std::lock_guard lock(mutex_);
  const auto it = by_ino_.find(ino);
  if (it == by_ino_.end()) return nullptr;
  InodeRef inode = it->second;
  by_ino_.erase(it);
  return inode;
}

void InodeTable::Renamed(ino_t ino, const InodeRef& parent, const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto it = by_ino_.find(ino);
  if (it == by_ino_.end()) return;
  it->second->parent = parent;
  it->second->name = name;
}

Place InodeTable::PlaceOf(const InodeRef& inode) const {
  std::lock_guard lock(mutex_);
  return {inode->parent ? inode->parent->folder : nullptr, inode->name};
}

std::string InodeTable::PathOf(const InodeRef& inode) const {
  std::lock_guard lock(mutex_);
  std::string path;
  for (const Inode* at = inode.get(); at->parent != nullptr; at = at->parent.get())
    path = "/" + at->name + path;
  return path.empty() ? "/" : path;
}

std::string InodeTable::PathOf(const InodeRef& parent, const std::string& name) const {
  const std::string folder = PathOf(parent);
  return folder == "/" ? "/" + name : folder + "/" + name;
}

}  // namespace keyfold
