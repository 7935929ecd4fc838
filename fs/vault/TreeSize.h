// TreeSize: how much there is to be done in a tree, for a guess of the time it takes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace keyfold {

struct TreeSize {
  uint64_t files = 0;
  uint64_t bytes = 0;  // of files, as MeasuredBytes says
};

// What a file's bytes are, so that they come to what the work counts as it goes.
enum class MeasuredBytes {
  kLength,  // for who also passes holes
  kData,    // for who passes them over
  kStored,  // of files of a store: their contents, for who passes holes over
};

// MeasureTree counts what is below `path`, on its filesystem; it looks at no contents.
// A file with several names counts once. What cannot be seen is left out. It ends early
// when `stop` is set.
TreeSize MeasureTree(const std::string& path, MeasuredBytes bytes,
                     const std::atomic<bool>& stop);

}  // namespace keyfold
