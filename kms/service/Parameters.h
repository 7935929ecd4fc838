// Parameters: a request that has passed the schema.
//
// Owns: the request's JSON and its checked reading. Must not know: what the
// members mean. Immutable.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kms/base/Bytes.h"
#include "kms/base/Clock.h"
#include "kms/service/DataKeys.h"
#include "kms/service/Schema.h"

namespace keyfold {

class Parameters {
 public:
  // Check is kValidation, naming the member, for one that is missing, unknown,
  // of the wrong type or outside its limits. Null members count as absent.
  static Result<Parameters> Check(const Operation& operation,
                                  const nlohmann::json& request);
  // OfRefused is what of a request makes sense, member by member, to be recorded.
  static Parameters OfRefused(const Operation& operation,
                              const nlohmann::json& request);

  bool Has(const char* name) const { return request_.contains(name); }
  std::string String(const char* name, const std::string& otherwise = {}) const;
  // Text is a text, number, boolean or time (in seconds) as policies compare it.
  std::string Text(const char* name) const;
  bool Boolean(const char* name) const;
  std::optional<int64_t> Integer(const char* name) const;
  Bytes Blob(const char* name) const;
  std::optional<TimePoint> Timestamp(const char* name) const;
  std::map<std::string, std::string> Map(const char* name) const;
  std::vector<std::string> Strings(const char* name) const;
  // A structure, or a list of them; null when absent.
  nlohmann::json Structure(const char* name) const;

  // ForAudit is the request as it may be recorded: names in lower camel case,
  // no blobs, long texts as their size and SHA-256.
  nlohmann::json ForAudit(const Operation& operation) const;

 private:
  nlohmann::json request_ = nlohmann::json::object();
};

}  // namespace keyfold
