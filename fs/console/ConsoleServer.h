// ConsoleServer: the console's socket and connections.
//
// Owns: listening on a loopback port of both kinds of address, which user's processes
// may connect (the kernel's word), a thread for each connection, when to end. Must not
// know: what is answered.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "kms/api/LoopbackSocket.h"
#include "kms/api/ServeHttp.h"

namespace keyfold {

class ConsoleServer {
 public:
  // Listen takes `port` of 127.0.0.1 and of ::1, or any with 0: a browser may try
  // either for a name that means this machine, and nobody else must answer there.
  // Errors: LoopbackSocket::Listen's.
  static Result<ConsoleServer> Listen(uint16_t port);

  uint16_t port() const { return sockets_.front().port(); }

  struct Until {
    std::function<std::chrono::steady_clock::duration()> idle_for;
    std::chrono::seconds most_idle{};
    int terminal = -1;  // ends when this hangs up; -1 for none
  };
  // Run serves processes of this process's user until one of those, then closes all
  // connections; `why` it ended is what it returns, for people.
  std::string Run(const HttpHandler& handler, const Until& until);

 private:
  explicit ConsoleServer(std::vector<LoopbackSocket> sockets)
      : sockets_(std::move(sockets)) {}
  std::vector<LoopbackSocket> sockets_;
};

}  // namespace keyfold
