#include "fs/vault/TreeSize.h"

#include <ftw.h>
#include <sys/stat.h>

#include <algorithm>

namespace keyfold {
namespace {

constexpr int kDescriptors = 64;
constexpr uint64_t kSectorSize = 512;  // of st_blocks

// nftw(3) hands nothing through.
thread_local TreeSize* size_now = nullptr;
thread_local const std::atomic<bool>* stop_now = nullptr;

int Count(const char*, const struct stat* st, int type, struct FTW*) noexcept {
  if (type == FTW_F && S_ISREG(st->st_mode)) {
    ++size_now->files;
    size_now->bytes += std::min(static_cast<uint64_t>(st->st_size),
                                static_cast<uint64_t>(st->st_blocks) * kSectorSize);
  }
  return *stop_now ? 1 : 0;
}

}  // namespace

TreeSize MeasureTree(const std::string& path, const std::atomic<bool>& stop) {
  TreeSize size;
  size_now = &size;
  stop_now = &stop;
  (void)::nftw(path.c_str(), Count, kDescriptors, FTW_PHYS | FTW_MOUNT);
  return size;
}

}  // namespace keyfold
