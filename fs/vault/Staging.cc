#include "fs/vault/Staging.h"

namespace keyfold {

std::atomic<size_t> Staging::in_all_{0};

size_t Staging::SizeOf(const Block& block) {
  return sizeof(Blocks::value_type) + block.cipher.size();
}

void Staging::Count(const Block& block, bool more) {
  if (more) {
    ++count_;
    in_all_ += SizeOf(block);
  } else {
    --count_;
    in_all_ -= SizeOf(block);
  }
}

void Staging::Put(BlockNo block, Block staged) {
  Blocks& blocks = waiting_[GroupStripes::IndexOf(GroupOf(block))];
  const auto [it, added] = blocks.try_emplace(block.value);
  if (!added) Count(it->second, false);
  it->second = std::move(staged);
  Count(it->second, true);
}

const Staging::Block* Staging::Find(BlockNo block) const {
  const Blocks& waiting = waiting_[GroupStripes::IndexOf(GroupOf(block))];
  for (const Blocks* blocks : {&waiting, &taken_})
    if (const auto it = blocks->find(block.value); it != blocks->end())
      return &it->second;
  return nullptr;
}

const Staging::Blocks& Staging::Take() {
  for (Blocks& blocks : waiting_) {
    for (const auto& [number, block] : blocks) Erase(taken_, number, number + 1);
    taken_.merge(blocks);
  }
  return taken_;
}

void Staging::Stored() { Erase(taken_, 0, UINT64_MAX); }

void Staging::Drop(BlockNo first, uint64_t end) {
  for (Blocks& blocks : waiting_) Erase(blocks, first.value, end);
  Erase(taken_, first.value, end);
}

void Staging::Erase(Blocks& blocks, uint64_t first, uint64_t end) {
  const auto begin = blocks.lower_bound(first), stop = blocks.lower_bound(end);
  for (auto it = begin; it != stop; ++it) Count(it->second, false);
  blocks.erase(begin, stop);
}

}  // namespace keyfold
