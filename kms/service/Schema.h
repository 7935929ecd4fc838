// Schema: every operation and its parameters, once. Requests are checked
// against it, and the command line's options and help are made from it.
//
// Names and shapes are those of botocore's kms/2014-11-01/service-2.json; the
// services iam, audit and store are Keyfold's own. Immutable, thread-safe.
#pragma once

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

struct Parameter {
  std::string_view name;  // "KeyId"
  Kind kind = Kind::kString;
  bool required = false;
  std::string_view help;  // one line, without a full stop
};

struct Operation {
  std::string_view service;  // "kms", "iam", "audit", "store"
  std::string_view name;     // "CreateKey"
  bool read_only = false;
  std::string_view help;  // one sentence
  std::vector<Parameter> parameters;
};

const std::vector<Operation>& Operations();
// FindOperation is null when there is none of that name.
const Operation* FindOperation(std::string_view service, std::string_view name);

}  // namespace keyfold
