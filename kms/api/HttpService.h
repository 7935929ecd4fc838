// HttpService: HTTP/1.1 over sockets that are already connected.
//
// Owns: parsing and limits of requests, keep-alive, and the HTTP library. Must
// not know: where sockets come from, the KMS. Thread-safe: Serve runs on one
// thread per connection.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kms/api/Protocol.h"
#include "kms/service/DataKeys.h"

namespace keyfold {

class HttpService {
 public:
  // Handler answers one POST to "/"; it may throw, which becomes a 500.
  using Handler = std::function<Reply(const Caller& caller, const std::string& target,
                                      const std::string& body)>;
  explicit HttpService(Handler handler);
  ~HttpService();

  // Serve answers the requests that come through `fd`, all as `caller`, until
  // the peer closes, breaks a limit or is silent for too long, or `fd` is shut
  // down by another thread. It does not close `fd`.
  void Serve(int fd, const Caller& caller) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyfold
