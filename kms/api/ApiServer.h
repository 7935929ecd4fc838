// ApiServer: the KMS and Keyfold's own services on a Unix socket, and if wanted the
// KMS on a loopback TCP port for AWS's clients, and metrics on another.
//
// Owns: the sockets, one thread per connection, who the peer of the Unix socket is (the
// kernel's word, SO_PEERCRED, never the client's), how many connections a user may
// have, who may read metrics. Must not know: what an operation does or who may.
// Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kms/service/Kms.h"

namespace keyfold {

struct ApiServerOptions {
  std::string socket_path;
  // "127.0.0.1:4599"; nothing listens there when it is empty.
  std::string listen;
  // PEM files; with them `listen` speaks TLS.
  std::string tls_certificate, tls_key;
  // "127.0.0.1:9464": where GET /metrics is answered with the text of `metrics`, called
  // on any thread, to root, to the account's root user, to who runs this, and to
  // `metrics_users`. Empty: nowhere.
  std::string metrics_listen;
  std::vector<uid_t> metrics_users;
  std::function<std::string()> metrics;
  // Members added to GetStatus's answer, beside KmsEndpoint, the URL of `listen`;
  // called on any thread.
  std::function<nlohmann::json()> status;
  // Further connections are told to come back.
  size_t max_connections = 256;
  size_t max_connections_per_user = 64;
};

class ApiServer {
 public:
  // Start listens and serves until the object goes; `kms` must outlive it.
  // Errors: SocketFile::Listen's, LoopbackSocket::Listen's and TlsServer::Load's.
  static Result<std::unique_ptr<ApiServer>> Start(Kms& kms, ApiServerOptions options,
                                                  const Clock& clock = Clock::System());
  // Ends every connection, after the call it is in.
  ~ApiServer();

  // ReloadTls reads certificate and key anew, for the connections that come from now
  // on. When they can't be used the former stay; TlsServer::Load says why.
  Status ReloadTls();

 private:
  ApiServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
