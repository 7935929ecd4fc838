// Http: whatever comes through a connection, a request that is handed on is whole, its
// body as long as its only Content-Length says, and every answer is one.
//
// An input is what a client sends before it ends its side.
#include <sys/socket.h>
#include <unistd.h>

#include "kms/api/ServeHttp.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;

namespace {

// Fewer answers than the socket's buffer holds come to that.
constexpr size_t kLongest = 16 * 1024;

Reply Check(const HttpRequest& request) {
  size_t lengths = 0;
  for (const auto& [name, value] : request.headers) {
    if (name != "content-length") continue;
    ++lengths;
    Promise(value == std::to_string(request.body.size()) ||
                value.find_first_not_of("0123456789") != std::string::npos ||
                value.starts_with('0'),
            "a body is as long as was said");
  }
  Promise(lengths == 1, "a body's length is said once");
  Promise(request.method == "POST" && request.target == "/",
          "only calls are handed on");
  Promise(request.Header("transfer-encoding") == nullptr, "no body comes in pieces");
  return {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int ends[2];
  Promise(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "sockets");
  const size_t length = std::min(size, kLongest);
  Promise(::send(ends[0], data, length, MSG_NOSIGNAL) == static_cast<ssize_t>(length),
          "a socket takes it");
  ::shutdown(ends[0], SHUT_WR);
  ServeHttp(ends[1], Check);
  ::close(ends[1]);
  std::string answers;
  char buffer[4096];
  for (ssize_t got; (got = ::recv(ends[0], buffer, sizeof buffer, 0)) > 0;)
    answers.append(buffer, static_cast<size_t>(got));
  ::close(ends[0]);
  Promise(answers.empty() || answers.starts_with("HTTP/1.1 "), "an answer is HTTP");
  return 0;
}
