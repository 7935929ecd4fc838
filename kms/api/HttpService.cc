#include "kms/api/HttpService.h"

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kIdle{30};         // between two requests
constexpr seconds kRequestTime{10};  // from a request's first byte to its last
constexpr seconds kWriteTime{10};    // without the peer taking a byte
constexpr size_t kMaxHeaders = 16 * 1024;
constexpr int kMaxRequests = 10'000;  // through one connection

bool WaitFor(int fd, short events, std::chrono::milliseconds time) {
  pollfd entry{fd, events, 0};
  const SteadyTime end = std::chrono::steady_clock::now() + time;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    const int found =
        ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (found < 0 && errno == EINTR) continue;
    return found > 0;
  }
}

// SocketStream is one connection. The library's own stream waits with select(),
// which fails for descriptors above 1023, and a daemon with many open files
// has such; it also bounds neither a request's total size nor its total time.
// What is written waits for Flush, so that an answer is one system call.
class SocketStream : public httplib::Stream {
 public:
  SocketStream(int fd, TlsConnection* tls) : fd_(fd), tls_(tls) {
    const timeval idle{kIdle.count(), 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
  }

  // AwaitRequest is false when no further request comes in time.
  bool AwaitRequest() {
    budget_ = kMaxHeaders;
    if (!HasMore() && !(tls_ ? WaitFor(fd_, POLLIN, kIdle) : FillWaiting()))
      return false;
    deadline_ = std::chrono::steady_clock::now() + kRequestTime;
    return true;
  }
  // Flush is false when the peer takes no more.
  bool Flush() {
    for (size_t sent = 0; sent < written_.size();) {
      const ssize_t count = Pass(
          POLLOUT, [&] { return Send(written_.data() + sent, written_.size() - sent); },
          [] { return milliseconds(kWriteTime); });
      if (count <= 0) return false;
      sent += static_cast<size_t>(count);
    }
    written_.clear();
    return true;
  }

  // AllowBody is for when the headers were read and found good.
  void AllowBody(size_t size) { budget_ = size; }

  bool is_readable() const override {
    return HasMore() || WaitFor(fd_, POLLIN, TimeLeft());
  }
  bool is_writable() const override { return true; }

  ssize_t read(char* out, size_t size) override {
    if (begin_ == end_ && !Fill()) return -1;
    const size_t count = std::min({size, end_ - begin_, budget_});
    std::copy_n(buffer_.data() + begin_, count, out);
    begin_ += count;
    budget_ -= count;
    return static_cast<ssize_t>(count);  // 0 when the budget is used up: the end
  }

  ssize_t write(const char* data, size_t size) override {
    written_.append(data, size);
    return static_cast<ssize_t>(size);
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip = "local";
    port = 0;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    ip = "local";
    port = 0;
  }
  // The library only compares this with FD_SETSIZE.
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  bool HasMore() const { return begin_ != end_ || (tls_ && tls_->HasPending()); }

  milliseconds TimeLeft() const {
    return std::chrono::duration_cast<milliseconds>(deadline_ -
                                                    std::chrono::steady_clock::now());
  }

  ssize_t Receive() {
    uint8_t* out = reinterpret_cast<uint8_t*>(buffer_.data());
    return tls_ ? tls_->Read({out, buffer_.size()})
                : ::recv(fd_, out, buffer_.size(), MSG_DONTWAIT);
  }

  ssize_t Send(const char* data, size_t size) {
    return tls_ ? tls_->Write(AsBytes({data, size}))
                : ::send(fd_, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  // Pass repeats `transfer` until something passed, and waits for `event` between, as
  // long as time() says.
  template <typename Transfer, typename Time>
  ssize_t Pass(short event, Transfer&& transfer, Time&& time) {
    for (;;) {
      const ssize_t count = transfer();
      if (count >= 0) return count;
      if (tls_)
        event = tls_->wanted();
      else if (errno == EINTR)
        continue;
      else if (errno != EAGAIN)
        return -1;
      if (event == 0 || !WaitFor(fd_, event, time())) return -1;
    }
  }

  // The peer may wait for what was written, a "100 Continue", before it goes on.
  bool Fill() {
    if (!Flush()) return false;
    return Filled(Pass(
        POLLIN, [&] { return Receive(); }, [&] { return TimeLeft(); }));
  }
  // FillWaiting blocks for as long as a connection may be idle.
  bool FillWaiting() {
    ssize_t count;
    do {
      count = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
    } while (count < 0 && errno == EINTR);
    return Filled(count);
  }
  bool Filled(ssize_t count) {
    begin_ = 0;
    end_ = count > 0 ? static_cast<size_t>(count) : 0;
    return count > 0;
  }

  const int fd_;
  TlsConnection* const tls_;
  std::array<char, 16 * 1024> buffer_;
  size_t begin_ = 0, end_ = 0;
  std::string written_;  // at most the library's headers and one answer
  size_t budget_ = 0;
  SteadyTime deadline_{};
};

// What the handlers of the request being served on this thread may know of it:
// the library passes them nothing of ours.
struct Serving {
  const HttpService::Handler* handler = nullptr;
  SocketStream* stream = nullptr;
  bool close_after = false;
};
thread_local Serving serving;

// AWS's clients correct their clock by it. RFC 9110, section 5.6.7.
std::string HttpDate() {
  const time_t now = ::time(nullptr);
  tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 40> text{};
  ::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return text.data();
}

void Fill(httplib::Response& response, const Reply& reply) {
  response.status = reply.http_status;
  response.set_header("x-amzn-RequestId",
                      reply.request_id.empty() ? RandomUuid() : reply.request_id);
  response.set_header("Date", HttpDate());
  response.set_header("Cache-Control", "no-cache, no-store, must-revalidate, private");
  response.set_content(reply.body, kContentType);
}

HttpRequest RequestOf(const httplib::Request& request, std::string body) {
  HttpRequest out;
  out.method = request.method;
  out.target = request.target;
  out.body = std::move(body);
  out.headers.reserve(request.headers.size());
  for (const auto& [name, value] : request.headers) {
    auto& header = out.headers.emplace_back(name, value);
    for (char& c : header.first)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// Connections is the library's server without its sockets. What else it would do with
// a request is refused before it can: ranges of answers, forms, compressed and chunked
// bodies. It decodes %XX in the values of headers.
class Connections : public httplib::Server {
 public:
  Connections() {
    set_payload_max_length(kMaxBody);
    set_keep_alive_max_count(kMaxRequests);
    set_keep_alive_timeout(kIdle.count());
    set_pre_routing_handler(
        [](const httplib::Request& request, httplib::Response& response) {
          return Refuse(request, response) ? HandlerResponse::Handled
                                           : HandlerResponse::Unhandled;
        });
    Post("/", [](const httplib::Request& request, httplib::Response& response,
                 const httplib::ContentReader& read) {
      std::string body;
      if (read([&body](const char* data, size_t size) {
            body.append(data, size);
            return true;
          }))
        Fill(response, (*serving.handler)(RequestOf(request, std::move(body))));
    });
    set_exception_handler([](const httplib::Request&, httplib::Response& response,
                             std::exception_ptr) {
      Fill(response, ErrorReply("KMSInternalException", "The request failed.", 500));
    });
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;
      serving.close_after = true;
      Fill(response,
           ErrorReply("SerializationException", "The request is not well-formed HTTP.",
                      response.status));
    });
  }

  void Serve(int fd, const HttpService::Handler& handler, TlsConnection* tls) {
    SocketStream stream(fd, tls);
    for (int i = 0; i < kMaxRequests && stream.AwaitRequest(); ++i) {
      serving = {&handler, &stream, false};
      bool closed = false;
      const bool answered =
          process_request(stream, i + 1 == kMaxRequests, closed, nullptr);
      const bool sent = stream.Flush();
      if (!answered || !sent || closed || serving.close_after) break;
    }
    serving = {};
  }

 private:
  // Refuse answers, before any body is read, what is no call: another method
  // or path, and bodies that are too large or of a size not known in advance.
  static bool Refuse(const httplib::Request& request, httplib::Response& response) {
    // The library cuts every answer by them, refusals too. The object is its own.
    const bool ranged = !request.ranges.empty() || request.has_header("Range");
    const_cast<httplib::Request&>(request).ranges.clear();
    const std::string size = request.get_header_value("Content-Length");
    if (request.method != "POST" || request.target != "/") {
      Fill(response, ErrorReply("UnknownOperationException",
                                "Only POST requests to / are answered.", 404));
    } else if (request.has_header("Transfer-Encoding") ||
               request.has_header("Content-Encoding") || ranged ||
               request.get_header_value("Content-Type").starts_with("multipart/") ||
               request.get_header_value_count("Content-Length") != 1 || size.empty() ||
               size.find_first_not_of("0123456789") != std::string::npos) {
      Fill(response, ErrorReply("SerializationException",
                                "The body must be plain and whole, with a "
                                "Content-Length."));
    } else if (request.get_header_value<uint64_t>("Content-Length") > kMaxBody) {
      Fill(response, ErrorReply("RequestEntityTooLargeException",
                                "The request has more than 1 MiB.", 413));
    } else {
      serving.stream->AllowBody(request.get_header_value<uint64_t>("Content-Length"));
      return false;
    }
    serving.close_after = true;
    return true;
  }
};

}  // namespace

struct HttpService::Impl {
  Connections connections;
};

HttpService::HttpService() : impl_(std::make_unique<Impl>()) {}
HttpService::~HttpService() = default;

void HttpService::Serve(int fd, const Handler& handler, TlsConnection* tls) noexcept {
  try {
    impl_->connections.Serve(fd, handler, tls);
  } catch (const std::exception&) {
    // Out of memory for this connection: it is closed, the others go on.
  }
}

}  // namespace keyfold
