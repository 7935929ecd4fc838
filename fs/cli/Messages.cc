#include "fs/cli/Messages.h"

#include <sys/socket.h>

#include <cerrno>

namespace keyfold {

using nlohmann::json;

Status OtherEndGone() {
  return {Error::kSystem, "The daemon's process for that is gone."};
}

bool SendMessage(int socket, const json& message) {
  const std::string text =
      message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t n =
        ::send(socket, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

json ReceiveMessage(int socket) {
  // A record and a command's words are far below that.
  constexpr size_t kMost = 16 << 20;
  std::string text;
  char part[4096];
  while (!text.ends_with('\n') && text.size() < kMost) {
    const ssize_t n = ::recv(socket, part, sizeof part, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return {};
    text.append(part, static_cast<size_t>(n));
  }
  return json::parse(text, nullptr, false);
}

json ToMessage(const Status& status) {
  return {{"Error", static_cast<int>(status.error())}, {"Message", status.message()}};
}

Status StatusIn(const json& message) {
  if (!message.is_object()) return OtherEndGone();
  const auto error = static_cast<Error>(message.value("Error", 0));
  if (error == Error::kOk) return OkStatus();
  return {error, message.value("Message", "")};
}

}  // namespace keyfold
