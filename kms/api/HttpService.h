// HttpService: HTTP/1.1 over sockets that are already connected.
//
// Owns: parsing and limits of requests, keep-alive, and the HTTP library. Must
// not know: where sockets come from, the KMS. Thread-safe: Serve runs on one
// thread per connection.
#pragma once

#include <functional>
#include <memory>

#include "kms/api/HttpRequest.h"
#include "kms/api/Protocol.h"
#include "kms/crypto/Tls.h"

namespace keyfold {

class HttpService {
 public:
  // Handler answers one POST to "/"; it may throw, which becomes a 500.
  using Handler = std::function<Reply(const HttpRequest& request)>;
  HttpService();
  ~HttpService();

  // Serve answers the requests that come through `fd` until the peer closes, breaks
  // a limit or is silent for too long, or `fd` is shut down by another thread. It does
  // not close `fd`. With `tls`, they come through that, and `fd` does not block.
  void Serve(int fd, const Handler& handler, TlsConnection* tls = nullptr) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
