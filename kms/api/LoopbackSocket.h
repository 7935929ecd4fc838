// LoopbackSocket: a TCP socket that only this machine's programs reach.
//
// Owns: reading the address, listening, and asking the kernel whose the other end
// is. Must not know: what is spoken through it. Not synchronised.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "kms/base/Status.h"

namespace keyfold {

class LoopbackSocket {
 public:
  // Listen reads "127.0.0.1:4599", "[::1]:4599" or "localhost:4599"; port 0 takes any
  // that is free. kUsage for another form, or an address that other machines reach;
  // kSystem/EADDRINUSE.
  static Result<LoopbackSocket> Listen(const std::string& address);
  LoopbackSocket(LoopbackSocket&& other) noexcept;
  LoopbackSocket& operator=(LoopbackSocket&&) = delete;
  ~LoopbackSocket();

  int fd() const { return fd_; }
  // "127.0.0.1:4599", with the port that was given.
  const std::string& address() const { return address_; }
  uint16_t port() const { return port_; }

 private:
  LoopbackSocket() = default;
  int fd_ = -1;
  std::string address_;
  uint16_t port_ = 0;
};

// PeerAddress is the other end of a connection, without its port: "127.0.0.1".
std::string PeerAddress(int fd);
// PeerUid asks the kernel (sock_diag(7)) which user made the other end of a loopback
// connection; empty when it can't tell, as for another network namespace's.
std::optional<uid_t> PeerUid(int fd);

}  // namespace keyfold
