// How fast a mount changes keys, measured. Free functions.
#pragma once

#include <cstdint>
#include <string>

#include "kms/base/Status.h"

namespace keyfold {

struct KeySpeed {
  double seconds_per_file = 0;  // to wrap its data key, or give it another
  double bytes_per_second = 0;  // of encrypting contents anew
  double Wrapping(uint64_t files) const {
    return static_cast<double>(files) * seconds_per_file;
  }
  double Reencrypting(uint64_t files, uint64_t bytes) const {
    return Wrapping(files) + static_cast<double>(bytes) / bytes_per_second;
  }
};

// MeasureKeySpeed encrypts a small file of its own anew, made in `folder` and without a
// name from then on. Fails where the user can make no files.
Result<KeySpeed> MeasureKeySpeed(const std::string& folder);

}  // namespace keyfold
