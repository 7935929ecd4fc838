// Schema: every operation and its parameters, once. Requests are checked
// against it, and the command line's options and help are made from it.
//
// Names and shapes are those of botocore's kms/2014-11-01/service-2.json; the
// services iam, audit and store are Keyfold's own. Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace keyfold {

enum class Kind {
  kString,
  kInteger,
  kBoolean,
  kBlob,       // base64 in JSON
  kTimestamp,  // seconds since 1970, may have a fraction
  kStringMap,  // {"key": "value"}
  kStringList,
  kStructure,      // an object
  kStructureList,  // objects, such as [{"TagKey": ..., "TagValue": ...}]
};

// Limits of a value, as AWS states them.
struct Limits {
  // A text's characters, a blob's bytes, a list's items, or the number itself; with
  // `most` 0 there is no bound.
  int64_t least = 0, most = 0;
  // A regular expression of one class of characters, all of which the text is made of.
  std::string_view pattern = {};
  std::span<const std::string_view> values = {};  // of an enumeration; empty: any
};

struct Parameter {
  std::string_view name;  // "KeyId"
  Kind kind = Kind::kString;
  bool required = false;
  std::string_view help;  // one line, without a full stop
  Limits limits = {};
  Limits item = {};           // of each text in a list
  bool confidential = false;  // on record by size and hash alone
};

struct Operation {
  std::string_view service;  // "kms", "iam", "audit", "store"
  std::string_view name;     // "CreateKey"
  bool read_only = false;
  std::string_view help;  // one sentence
  std::vector<Parameter> parameters;
};

// LookupEvents answers with at most this many.
inline constexpr int64_t kMostResults = 100'000;

const std::vector<Operation>& Operations();
// RefusedOperations are those of AWS KMS that are known by name, and not built.
const std::vector<Operation>& RefusedOperations();
// FindOperation finds one of either; null when there is none of that name.
const Operation* FindOperation(std::string_view service, std::string_view name);

}  // namespace keyfold
