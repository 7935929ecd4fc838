// ConsoleServer: the console's socket and connections.
//
// Owns: listening on a loopback port, which user's processes may connect (the kernel's
// word), a thread for each connection, when to end. Must not know: what is answered.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>

#include "kms/api/LoopbackSocket.h"
#include "kms/api/ServeHttp.h"

namespace keyfold {

class ConsoleServer {
 public:
  // Listen takes `port` of 127.0.0.1, or any with 0. Errors: LoopbackSocket::Listen's.
  static Result<ConsoleServer> Listen(uint16_t port);

  const std::string& address() const { return socket_.address(); }

  struct Until {
    std::function<std::chrono::steady_clock::duration()> idle_for;
    std::chrono::seconds most_idle{};
    int terminal = -1;  // ends when this hangs up; -1 for none
  };
  // Run serves processes of this process's user until one of those, then closes all
  // connections; `why` it ended is what it returns, for people.
  std::string Run(const HttpHandler& handler, const Until& until);

 private:
  explicit ConsoleServer(LoopbackSocket socket) : socket_(std::move(socket)) {}
  LoopbackSocket socket_;
};

}  // namespace keyfold
