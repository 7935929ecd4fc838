// ApiClient: calls of a daemon's services through its Unix socket.
//
// Owns: one connection, made at the first call and again when it was lost. Must
// not know: what an operation means. Not synchronised: one thread at a time.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "kms/base/Status.h"

namespace keyfold {

class ApiClient {
 public:
  explicit ApiClient(std::string socket_path);
  ~ApiClient();

  // Call does one operation of kms/service/Schema.h as the user this process
  // runs as. A service's refusal comes back as the Status it was; kSystem when
  // no daemon answers.
  Result<nlohmann::json> Call(std::string_view service, std::string_view operation,
                              const nlohmann::json& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
