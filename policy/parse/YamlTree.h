// Hostile YAML into a bounded tree that knows its places.
//
// Owns: the limits, and yaml-cpp's exceptions. Must not know: policies.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kms/base/Status.h"

namespace keyfold::policy {

// Node is a value and where it stands; line and column count from 1.
struct Node {
  enum class Kind { kNull, kScalar, kList, kMap };
  struct Entry;
  Kind kind = Kind::kNull;
  int line = 1, column = 1;
  std::string text;            // of a scalar
  std::vector<Node> items;     // of a list
  std::vector<Entry> entries;  // of a map, in order; no key comes twice
};
struct Node::Entry {
  Node key;  // a scalar
  Node value;
};

struct TreeLimits {
  size_t bytes;
  size_t nodes;
  size_t depth = 16;
};

// ParseTree reads exactly one document of UTF-8 YAML 1.2, without anchors,
// aliases and tags. kMalformedPolicyDocument: "NAME:LINE:COLUMN: why".
Result<Node> ParseTree(std::string_view text, std::string_view source_name,
                       const TreeLimits& limits);

// Malformed makes the error of a place.
Status Malformed(std::string_view source_name, int line, int column,
                 const std::string& message);

// Quote shows text of others in an error: in quotes, short, on one line.
std::string Quote(std::string_view text);

}  // namespace keyfold::policy
