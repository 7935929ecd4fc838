// Console: what the web console answers to one request.
//
// Owns: who is let in (the session, the Host and Origin of a request), which operations
// the pages may ask for, the proof that an answer is the console's, the headers that
// confine the pages. Must not know: sockets, how an operation is done. Thread-safe if
// the backend is.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fs/console/Session.h"
#include "kms/api/HttpRequest.h"
#include "kms/api/Protocol.h"

namespace keyfold {

struct ConsoleBackend {
  // One operation of kms/service/Schema.h, as the user whose console it is.
  std::function<Result<nlohmann::json>(std::string_view service,
                                       std::string_view operation,
                                       const nlohmann::json& request)>
      call;
  // The console's own operations: "ListFolder".
  using Own = std::function<Result<nlohmann::json>(const nlohmann::json& request)>;
  std::map<std::string, Own, std::less<>> own;
  // Called once, when the address was opened; may be empty.
  std::function<void()> opened;
};

class Console {
 public:
  // `port` is that of the listening socket.
  Console(uint16_t port, ConsoleBackend backend, const Clock& clock = Clock::System());

  // The address to open once. Its host is a name of this machine that nobody else
  // knows, so that no page of another server has this one's origin. It ends in the
  // session's token, behind a "#", so that no request has it in its first line.
  std::string Url() const;
  Reply Serve(const HttpRequest& request);
  // IdleFor is how long nobody who was let in asked for anything.
  std::chrono::steady_clock::duration IdleFor() const;

 private:
  Reply Route(const HttpRequest& request);
  // RouteSafely answers also when that throws: it too is an answer of this console.
  Reply RouteSafely(const HttpRequest& request);
  Reply BeginSession(const HttpRequest& request);
  Reply Welcome() const;  // to who was let in
  Reply CallOperation(const HttpRequest& request);
  // Refusal is the answer to what may come of another page or another user.
  std::optional<Reply> Refusal(const HttpRequest& request) const;
  bool HasSession(const HttpRequest& request) const;
  // Prove marks an answer, a refusal too, as one of this console's to this request.
  void Prove(const HttpRequest& request, Reply* reply) const;
  void Touch();

  const std::string host_;  // with the port
  const ConsoleBackend backend_;
  Session session_;
  std::atomic<std::chrono::steady_clock::rep> last_use_;
};

}  // namespace keyfold
