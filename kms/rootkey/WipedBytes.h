// WipedBytes: secret bytes at the edge to what takes plain memory: read(2), a token.
#pragma once

#include <cstring>

#include "kms/base/Bytes.h"

namespace keyfold {

// WipedBytes is zeroed before its memory is given back.
struct WipedBytes {
  explicit WipedBytes(size_t size) : bytes(size) {}
  explicit WipedBytes(Bytes from) : bytes(std::move(from)) {}
  ~WipedBytes() {
    if (!bytes.empty()) explicit_bzero(bytes.data(), bytes.size());
  }
  WipedBytes(const WipedBytes&) = delete;
  WipedBytes& operator=(const WipedBytes&) = delete;
  Bytes bytes;
};

}  // namespace keyfold
