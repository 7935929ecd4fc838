// Endpoint: what a request asks for, and who asks.
//
// Owns: calling the Kms for a request of the Unix socket, whose peer the kernel named,
// or of the loopback endpoint, which is signed. Must not know: sockets, the HTTP
// library. Thread-safe.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "kms/api/HttpRequest.h"
#include "kms/api/Protocol.h"
#include "kms/api/ReplayGuard.h"
#include "kms/service/Kms.h"

namespace keyfold {

class Endpoint {
 public:
  // `status` gives members to add to GetStatus's answer.
  Endpoint(Kms& kms, const Clock& clock, std::function<nlohmann::json()> status)
      : kms_(kms), clock_(clock), status_(std::move(status)) {}

  // Peer is the other end of a loopback connection.
  struct Peer {
    std::string address;  // "127.0.0.1"
    uid_t uid = 0;        // who made it, as far as is known
  };
  Reply Serve(const Caller& caller, const HttpRequest& request);
  // ServeSigned takes no one's word but the signature's, and only calls of the KMS.
  Reply ServeSigned(const Peer& peer, const HttpRequest& request);

 private:
  Result<Caller> Authenticate(const Peer& peer, const HttpRequest& request);
  Reply Call(const Caller& caller, const Target& target, const HttpRequest& request);

  Kms& kms_;
  const Clock& clock_;
  const std::function<nlohmann::json()> status_;
  ReplayGuard replays_;
};

}  // namespace keyfold
