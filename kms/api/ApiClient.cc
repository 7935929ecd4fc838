#include "kms/api/ApiClient.h"

#include <httplib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "kms/api/Protocol.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr int kConnectSeconds = 5;
constexpr int kAnswerSeconds = 60;
constexpr auto kAgain = std::chrono::milliseconds(20);

// QueueIsFull tells whether a connection failed only because many others wait for the
// daemon to take theirs.
bool QueueIsFull(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  path.copy(address.sun_path, path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const bool full =
      ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN;
  ::close(fd);
  return full;
}

}  // namespace

struct ApiClient::Impl {
  explicit Impl(std::string path)
      : socket_path(std::move(path)), http(socket_path, 80) {
    http.set_address_family(AF_UNIX);
    http.set_keep_alive(true);
    http.set_connection_timeout(kConnectSeconds);
    http.set_read_timeout(kAnswerSeconds);
    // The library would send the socket's path as the host.
    http.set_default_headers({{"Host", "localhost"}});
  }
  const std::string socket_path;
  httplib::Client http;
};

ApiClient::ApiClient(std::string socket_path)
    : impl_(std::make_unique<Impl>(std::move(socket_path))) {}
ApiClient::~ApiClient() = default;

Result<json> ApiClient::Call(std::string_view service, std::string_view operation,
                             const json& request) {
  try {
    const std::string body =
        request.dump(-1, ' ', false, json::error_handler_t::replace);
    const auto post = [&] {
      return impl_->http.Post("/", {{"X-Amz-Target", TargetHeader(service, operation)}},
                              body, kContentType);
    };
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::seconds(kConnectSeconds);
    auto answer = post();
    while (!answer && answer.error() == httplib::Error::Connection &&
           std::chrono::steady_clock::now() < until &&
           QueueIsFull(impl_->socket_path)) {
      std::this_thread::sleep_for(kAgain);
      answer = post();
    }
    if (!answer && answer.error() == httplib::Error::Write)
      return Status::FromErrno(EBUSY,
                               "the daemon turned the connection away, as you have too "
                               "many open; try again");
    if (!answer)
      return Status::FromErrno(
          ECONNREFUSED, "no answer from the daemon at " + impl_->socket_path + " (" +
                            httplib::to_string(answer.error()) + ")");
    return ParseReply(answer->status, answer->body);
  } catch (const std::exception& error) {
    return Status(Error::kInternal, error.what());
  }
}

}  // namespace keyfold
