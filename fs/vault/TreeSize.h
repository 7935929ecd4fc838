// TreeSize: how much there is to be checked, for a guess of the time it takes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace keyfold {

struct TreeSize {
  uint64_t files = 0;
  uint64_t bytes = 0;  // of files, as stored
};

// MeasureTree counts what is below `path`, on its filesystem; it looks at no contents.
// What cannot be seen is left out. It ends early when `stop` is set.
TreeSize MeasureTree(const std::string& path, const std::atomic<bool>& stop);

}  // namespace keyfold
