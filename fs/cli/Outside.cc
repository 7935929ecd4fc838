#include "fs/cli/Outside.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "fs/backend/Capabilities.h"
#include "fs/cli/Unmount.h"
#include "kms/api/AlertCommand.h"

namespace keyfold {
namespace {

using nlohmann::json;

// A record and a command's words are far below that.
constexpr size_t kMostRequest = 16 << 20;

Status Gone() { return {Error::kSystem, "The daemon's process for that is gone."}; }

bool SendAll(int socket, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n =
        ::send(socket, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

// SendLine sends one message, which a line break ends.
bool SendLine(int socket, const json& message) {
  return SendAll(socket,
                 message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

// ReceiveLine is empty when the other end is gone before a line's end.
std::string ReceiveLine(int socket) {
  std::string text;
  char part[4096];
  while (!text.ends_with('\n') && text.size() < kMostRequest) {
    const ssize_t n = ::recv(socket, part, sizeof part, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return {};
    text.append(part, static_cast<size_t>(n));
  }
  return text.ends_with('\n') ? text : std::string();
}

json ToJson(const Status& status) {
  return {{"Error", static_cast<int>(status.error())}, {"Message", status.message()}};
}

Status StatusOf(const std::string& line) {
  const json answer = json::parse(line, nullptr, false);
  if (!answer.is_object()) return Gone();
  const auto error = static_cast<Error>(answer.value("Error", 0));
  if (error == Error::kOk) return OkStatus();
  return {error, answer.value("Message", "")};
}

// Handover is a message of one byte that brings a descriptor.
struct Handover {
  Handover() {
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
  }
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  char byte = 0;
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
};

// SendEnd hands one end of a connection over.
bool SendEnd(int socket, int end) {
  Handover handover;
  cmsghdr* header = CMSG_FIRSTHDR(&handover.message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof end);
  std::memcpy(CMSG_DATA(header), &end, sizeof end);
  ssize_t n;
  do n = ::sendmsg(socket, &handover.message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n == 1;
}

// ReceiveEnd waits for the next connection; nothing when the daemon is gone.
UniqueFd ReceiveEnd(int socket) {
  Handover handover;
  int end = -1;
  ssize_t n;
  do n = ::recvmsg(socket, &handover.message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  const cmsghdr* header = n == 1 ? CMSG_FIRSTHDR(&handover.message) : nullptr;
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS)
    std::memcpy(&end, CMSG_DATA(header), sizeof end);
  return UniqueFd(end);
}

policy::AlertAction ActionOf(const json& request) {
  policy::AlertAction action;
  action.kind = policy::AlertAction::Kind::kCommand;
  action.command = request.at("Command").get<std::vector<std::string>>();
  action.user = request.at("User").get<std::string>();
  action.timeout = std::chrono::seconds(request.at("Timeout").get<int64_t>());
  return action;
}

Status RunFor(int connection, const json& request) {
  // The daemon shuts its end when it ends, or is gone. The thread that notices may be
  // there until this process, which does nothing else, ends.
  static std::atomic<bool> ending{false};
  std::thread([connection] {
    char byte;
    while (::recv(connection, &byte, 1, 0) < 0 && errno == EINTR) continue;
    ending = true;
  }).detach();
  const policy::AlertAction action = ActionOf(request);
  if (action.command.empty()) return {Error::kInternal, "a command without words"};
  return RunAlertCommand(action, request.at("Alert").get<std::string>(),
                         request.at("Record").get<std::string>(), ending);
}

// `mountpoint` is empty for commands.
Status Do(int connection, const json& request, const std::string& mountpoint) {
  if (mountpoint.empty() == request.contains("Lazy"))
    return {Error::kAccessDenied, "This process is for something else."};
  return mountpoint.empty() ? RunFor(connection, request)
                            : Unmount(mountpoint, request.at("Lazy").get<bool>());
}

// AnswerOne answers one request in a process of its own, so that none waits for
// another.
[[noreturn]] void AnswerOne(const UniqueFd& connection, const std::string& mountpoint) {
  ::signal(SIGCHLD, SIG_DFL);
  try {
    const json request = json::parse(ReceiveLine(connection.get()));
    (void)SendLine(connection.get(), ToJson(Do(connection.get(), request, mountpoint)));
  } catch (const std::exception& error) {
    (void)SendLine(connection.get(), ToJson({Error::kInternal, error.what()}));
  }
  ::_exit(0);
}

// KeepForUnmount leaves what umount(2) needs. Programs of root's get all that root has.
void KeepForUnmount() {
  const Capabilities own = Capabilities::OfThread();
  Capabilities few = Capabilities::None();
  for (unsigned one : {CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH}) few.AddFrom(own, one);
  if (!few.Take()) ::_exit(1);
}

[[noreturn]] void BeOutside(UniqueFd socket, const std::string& mountpoint) {
  ::setsid();
  // It ends with the daemon, whatever signals come for both.
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD})
    ::signal(signal, SIG_IGN);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || ::chdir("/") != 0) ::_exit(1);
  for (int fd : {0, 1, 2})
    if (::dup2(null, fd) < 0) ::_exit(1);
  // Behind standard error it has its socket alone, whatever the daemon's caller waits
  // on.
  constexpr int kSocket = 3;
  const int apart = ::fcntl(socket.get(), F_DUPFD_CLOEXEC, kSocket + 1);
  if (apart < 0 || ::dup3(apart, kSocket, O_CLOEXEC) < 0 ||
      ::close_range(kSocket + 1, ~0U, 0) != 0)
    ::_exit(1);
  (void)socket.Release();
  if (!mountpoint.empty()) KeepForUnmount();
  for (;;) {
    const UniqueFd connection = ReceiveEnd(kSocket);
    if (!connection.valid()) ::_exit(0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(kSocket);
      AnswerOne(connection, mountpoint);
    }
  }
}

Result<UniqueFd> Connect(int socket) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return Status::FromErrno(errno, "socketpair");
  UniqueFd mine(ends[0]);
  const UniqueFd theirs(ends[1]);
  if (!SendEnd(socket, theirs.get())) return Gone();
  return mine;
}

}  // namespace

Result<std::unique_ptr<Outside>> Outside::ForUnmounting(const std::string& mountpoint) {
  return Start(mountpoint);
}

Result<std::unique_ptr<Outside>> Outside::ForCommands() { return Start(""); }

Result<std::unique_ptr<Outside>> Outside::Start(const std::string& mountpoint) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Status::FromErrno(errno, "socketpair");
  UniqueFd mine(ends[0]), theirs(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return Status::FromErrno(errno, "fork");
  if (child == 0) {
    mine.Close();
    BeOutside(std::move(theirs), mountpoint);
  }
  return std::unique_ptr<Outside>(new Outside(std::move(mine)));
}

Status Outside::Unmount(bool lazy) const {
  KF_ASSIGN_OR_RETURN(const UniqueFd connection, Connect(socket_.get()));
  if (!SendLine(connection.get(), {{"Lazy", lazy}})) return Gone();
  return StatusOf(ReceiveLine(connection.get()));
}

Status Outside::RunCommand(const policy::AlertAction& action, const std::string& alert,
                           const std::string& record,
                           const std::atomic<bool>& ending) const {
  KF_ASSIGN_OR_RETURN(const UniqueFd connection, Connect(socket_.get()));
  const json request = {{"Command", action.command},
                        {"User", action.user},
                        {"Timeout", action.timeout.count()},
                        {"Alert", alert},
                        {"Record", record}};
  if (!SendLine(connection.get(), request)) return Gone();
  constexpr int kLook = 500;  // ms
  pollfd wait{connection.get(), POLLIN, 0};
  for (bool told = false; ::poll(&wait, 1, kLook) <= 0;) {
    if (ending && !told) told = ::shutdown(connection.get(), SHUT_WR) == 0;
  }
  return StatusOf(ReceiveLine(connection.get()));
}

}  // namespace keyfold
