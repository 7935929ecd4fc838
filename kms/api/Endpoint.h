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
#include "kms/base/Turn.h"
#include "kms/service/Kms.h"

namespace keyfold {

class Endpoint {
 public:
  // `status` gives members to add to GetStatus's answer.
  Endpoint(Kms& kms, const Clock& clock, std::function<nlohmann::json()> status)
      : kms_(kms), clock_(clock), status_(std::move(status)), replays_(clock.Now()) {}

  // Serve calls as `peer`, whom the kernel named.
  Reply Serve(const Caller& peer, const HttpRequest& request);
  // ServeSigned calls as who signed, and only the KMS. Of `peer` only the user whose
  // process connected is known, for the records, and its address.
  Reply ServeSigned(const Caller& peer, const HttpRequest& request);

 private:
  Status Authenticate(const HttpRequest& request, Caller* caller);
  bool IsRoot(const Caller& caller) const;
  Reply Call(const Caller& caller, const Target& target, const HttpRequest& request);

  Kms& kms_;
  const Clock& clock_;
  const std::function<nlohmann::json()> status_;
  ReplayGuard replays_;
  Turn::Few large_answers_{2}, large_documents_{2};
};

}  // namespace keyfold
