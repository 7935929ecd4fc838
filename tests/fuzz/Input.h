// What the targets share: reading an input part by part, and saying that a promise was
// broken.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include <string>
#include <string_view>

#include "kms/base/Bytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// Promise aborts, and so ends the run, unless `kept`.
inline void Promise(bool kept, const char* what) {
  if (kept) return;
  fprintf(stderr, "fuzz: broken promise: %s\n", what);
  abort();
}

// TakeLine takes the first line off `text`, without its newline.
inline std::string_view TakeLine(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// Edited is `good` with the changes that `script` names, four bytes each: offset u16,
// kind, value.
inline Bytes Edited(Bytes good, ByteView script) {
  ByteReader reader(script);
  while (const auto offset = reader.Integer<uint16_t>()) {
    const auto kind = reader.Integer<uint8_t>(), value = reader.Integer<uint8_t>();
    if (!kind || !value) break;
    const size_t at = good.empty() ? 0 : *offset % good.size();
    if (*kind % 4 == 0)
      good.resize(at);
    else if (*kind % 4 == 1)
      good.insert(good.begin() + static_cast<long>(at), *value);
    else if (at < good.size())
      good[at] = *kind % 4 == 2 ? static_cast<uint8_t>(good[at] ^ *value) : *value;
  }
  return good;
}

}  // namespace keyfold
