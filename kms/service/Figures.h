// KmsFigures: a KMS in numbers, for who keeps an eye on it. Plain values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kms/service/CallCounts.h"
#include "kms/service/Records.h"

namespace keyfold {

struct KmsFigures {
  struct Key {
    std::string id;
    KeyState state = KeyState::kEnabled;
    // When it is destroyed, or its imported material expires.
    std::optional<TimePoint> deletion, expiry;
  };
  TimePoint now;
  std::vector<Key> keys;
  size_t aliases = 0, grants = 0;
  uint64_t audit_records = 0;
  bool root_key_there = true;
  CallCounts::Snapshot counts;
};

}  // namespace keyfold
