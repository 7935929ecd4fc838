// HTTP/1.1 over sockets that are already connected.
//
// Owns: limits of requests, keep-alive, answers, and the HTTP library. Must not know:
// where sockets come from, the KMS.
#pragma once

#include <functional>

#include "kms/api/HttpRequest.h"
#include "kms/api/Protocol.h"
#include "kms/crypto/Tls.h"

namespace keyfold {

// HttpHandler answers one request; it may throw, which becomes a 500.
using HttpHandler = std::function<Reply(const HttpRequest& request)>;

// HttpService is what is answered: POST to "/" with a body, or GET of one path.
struct HttpService {
  HttpHandler handler;
  std::string path = "/";
  bool gets = false;
};

// ServeHttp answers the requests that come through `fd` until the peer closes, breaks a
// limit or is silent for too long, or `fd` is shut down by another thread. It does not
// close `fd`. With `tls`, they come through that, and `fd` does not block.
void ServeHttp(int fd, const HttpService& service,
               TlsConnection* tls = nullptr) noexcept;

}  // namespace keyfold
