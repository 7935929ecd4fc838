#include "kms/api/Webhook.h"

#include <fcntl.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMostAnswer = 64 << 10;

// The part up to the path, such as "https://alerts.example:8443".
std::string OriginOf(const std::string& url) {
  const size_t host = url.find("://");
  if (host == std::string::npos) return url;
  return url.substr(0, url.find_first_of("/?#", host + 3));
}

std::string BodyOf(const std::string& alert, const std::string& line,
                   const std::string& record) {
  json body = {{"alert", alert}, {"message", line}};
  body["record"] = json::parse(record, nullptr, false);
  if (body["record"].is_discarded()) body["record"] = nullptr;
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Cutoff ends a connection when its time is over. The library has a limit for each read
// alone, and can't be interrupted while it greets by TLS.
class Cutoff {
 public:
  Cutoff(std::chrono::seconds timeout, const std::atomic<bool>& ending)
      : ending_(ending),
        end_(std::chrono::steady_clock::now() + timeout),
        thread_([this] { Run(); }) {}
  ~Cutoff() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
      changed_.notify_all();
    }
    thread_.join();
    for (const int copy : copies_) close(copy);
  }
  Cutoff(const Cutoff&) = delete;
  Cutoff& operator=(const Cutoff&) = delete;

  // Watch is for each socket; a copy of the descriptor is nobody else's.
  void Watch(int socket) {
    const int copy = fcntl(socket, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return;
    std::lock_guard lock(mutex_);
    copies_.push_back(copy);
    if (over_) shutdown(copy, SHUT_RDWR);
  }
  bool over() const {
    std::lock_guard lock(mutex_);
    return over_;
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (!done_) {
      const auto now = std::chrono::steady_clock::now();
      if (ending_ && !std::exchange(hurried_, true))
        end_ = std::min(end_, now + kGrace);
      if (now >= end_) break;
      changed_.wait_until(lock, std::min(end_, now + kLook));
    }
    if (done_) return;
    over_ = true;
    for (const int copy : copies_) shutdown(copy, SHUT_RDWR);
  }

  static constexpr auto kGrace = std::chrono::seconds(3);
  static constexpr auto kLook = std::chrono::milliseconds(500);

  const std::atomic<bool>& ending_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::chrono::steady_clock::time_point end_;
  bool done_ = false, over_ = false, hurried_ = false;
  std::vector<int> copies_;
  std::thread thread_;
};

std::string Reason(httplib::Error error) {
  switch (error) {
    case httplib::Error::Connection:
    case httplib::Error::ConnectionTimeout:
      return "nobody answers there";
    case httplib::Error::SSLServerVerification:
      return "its certificate is not one that this machine trusts for that name";
    default:
      return httplib::to_string(error);
  }
}

Status Post(const policy::AlertAction& action, const std::string& body,
            const std::atomic<bool>& ending) {
  const std::string origin = OriginOf(action.url);
  std::string path = action.url.substr(origin.size());
  if (path.empty() || path.front() != '/') path.insert(0, "/");
  httplib::Client client(origin);
  if (!client.is_valid())
    return {Error::kUsage, WithoutSecrets(action.url) + " is no URL."};
  client.set_connection_timeout(action.timeout);
  client.set_read_timeout(action.timeout);
  client.set_write_timeout(action.timeout);
  client.set_keep_alive(false);
  Cutoff cutoff(action.timeout, ending);
  client.set_socket_options([&cutoff](int socket) { cutoff.Watch(socket); });
  size_t size = 0;
  httplib::Request request;
  request.method = "POST";
  request.path = path;
  request.body = body;
  request.headers = {{"Content-Type", "application/json"}, {"User-Agent", "keyfold"}};
  // What it answers is of no use; only that it does, in time.
  request.content_receiver = [&](const char*, size_t length, uint64_t, uint64_t) {
    size += length;
    return size <= kMostAnswer && !cutoff.over();
  };
  const httplib::Result answer = client.send(request);
  if (cutoff.over())
    return {Error::kSystem, WithoutSecrets(action.url) + " did not answer in time."};
  if (!answer)
    return {Error::kSystem, WithoutSecrets(action.url) +
                                " was not reached: " + Reason(answer.error()) + "."};
  if (answer->status >= 200 && answer->status < 300) return OkStatus();
  return {Error::kSystem, WithoutSecrets(action.url) + " answered " +
                              std::to_string(answer->status) + "."};
}

}  // namespace

std::string WithoutSecrets(const std::string& url) {
  std::string origin = OriginOf(url);
  const size_t host = origin.find("://");
  const size_t at = origin.rfind('@');
  if (host != std::string::npos && at != std::string::npos && at > host)
    origin.erase(host + 3, at - host - 2);
  return origin;
}

Status PostWebhook(const policy::AlertAction& action, const std::string& alert,
                   const std::string& line, const std::string& record,
                   const std::atomic<bool>& ending) {
  try {
    return Post(action, BodyOf(alert, line, record), ending);
  } catch (const std::exception&) {
    return {Error::kInternal, "The webhook's request could not be made."};
  }
}

}  // namespace keyfold
