#include "kms/api/Webhook.h"

#include <httplib.h>

#include <cerrno>
#include <exception>
#include <nlohmann/json.hpp>

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

Status Post(const policy::AlertAction& action, const std::string& body) {
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
  const auto end = std::chrono::steady_clock::now() + action.timeout;
  size_t size = 0;
  httplib::Request request;
  request.method = "POST";
  request.path = path;
  request.body = body;
  request.headers = {{"Content-Type", "application/json"}, {"User-Agent", "keyfold"}};
  // What it answers is of no use; only that it does, in time.
  request.content_receiver = [&](const char*, size_t length, uint64_t, uint64_t) {
    size += length;
    return size <= kMostAnswer && std::chrono::steady_clock::now() < end;
  };
  const httplib::Result answer = client.send(request);
  if (!answer)
    return {Error::kSystem, WithoutSecrets(action.url) + " was not reached: " +
                                httplib::to_string(answer.error()) + "."};
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
                   const std::string& line, const std::string& record) {
  try {
    return Post(action, BodyOf(alert, line, record));
  } catch (const std::exception&) {
    return {Error::kInternal, "The webhook's request could not be made."};
  }
}

}  // namespace keyfold
