#include "fs/vault/TreeSize.h"

#include <ftw.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "fs/format/Geometry.h"
#include "kms/base/Status.h"

namespace keyfold {
namespace {

constexpr int kDescriptors = 64;
constexpr uint64_t kSectorSize = 512;  // of st_blocks

struct Measuring {
  const MeasuredBytes bytes;
  const std::atomic<bool>& stop;
  TreeSize size;
  std::set<ino_t> linked;  // files with several names
};

// nftw(3) hands nothing through.
thread_local Measuring* measuring = nullptr;

uint64_t BytesOf(const struct stat& st, MeasuredBytes which) {
  const auto length = static_cast<uint64_t>(st.st_size);
  const uint64_t data =
      std::min(length, static_cast<uint64_t>(st.st_blocks) * kSectorSize);
  switch (which) {
    case MeasuredBytes::kLength:
      return length;
    case MeasuredBytes::kData:
      return data;
    case MeasuredBytes::kStored:
      break;
  }
  return PlainSize(data);
}

int Count(const char*, const struct stat* st, int type, struct FTW*) noexcept {
  const Status counted = OrNoMemory([&] {
    if (type != FTW_F || !S_ISREG(st->st_mode)) return OkStatus();
    if (st->st_nlink > 1 && !measuring->linked.insert(st->st_ino).second)
      return OkStatus();
    ++measuring->size.files;
    measuring->size.bytes += BytesOf(*st, measuring->bytes);
    return OkStatus();
  });
  return measuring->stop || !counted.ok() ? 1 : 0;
}

}  // namespace

TreeSize MeasureTree(const std::string& path, MeasuredBytes bytes,
                     const std::atomic<bool>& stop) {
  Measuring now{bytes, stop, {}, {}};
  measuring = &now;
  (void)::nftw(path.c_str(), Count, kDescriptors, FTW_PHYS | FTW_MOUNT);
  measuring = nullptr;
  return now.size;
}

}  // namespace keyfold
