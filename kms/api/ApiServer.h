// ApiServer: the KMS and Keyfold's own services on a Unix socket.
//
// Owns: the socket, one thread per connection, who the peer is (the kernel's
// word, SO_PEERCRED, never the client's). Must not know: what an operation does
// or who may. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "kms/service/Kms.h"

namespace keyfold {

struct ApiServerOptions {
  std::string socket_path;
  // Members added to GetStatus's answer; called on any thread.
  std::function<nlohmann::json()> status;
  // Further connections are told to come back.
  size_t max_connections = 64;
  size_t max_connections_per_user = 16;
};

class ApiServer {
 public:
  // Start listens and serves until the object goes; `kms` must outlive it.
  // Errors: SocketFile::Listen's.
  static Result<std::unique_ptr<ApiServer>> Start(Kms& kms, ApiServerOptions options);
  // Ends every connection, after the call it is in.
  ~ApiServer();

 private:
  ApiServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
