#include "fs/cli/Outside.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "fs/backend/Capabilities.h"
#include "fs/cli/ForkedProcess.h"
#include "fs/cli/Messages.h"
#include "fs/cli/MountNamespace.h"
#include "fs/cli/Unmount.h"
#include "kms/api/AlertCommand.h"

namespace keyfold {
namespace {

using nlohmann::json;

// Duty is what such a process is for.
struct Duty {
  bool commands = false;  // else the mount
  KernelMount mount;
  std::string name_space;
  Status entered;  // how entering that went
};

// Handover is a byte that brings a descriptor.
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

// HandOver sends a descriptor; the byte alone if that is none.
bool HandOver(int socket, int fd) {
  Handover handover;
  if (fd < 0) {
    handover.message.msg_controllen = 0;
  } else {
    cmsghdr* header = CMSG_FIRSTHDR(&handover.message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  ssize_t n;
  do n = ::sendmsg(socket, &handover.message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n == 1;
}

// TakeOver waits for a descriptor; nothing when none came, or the other end is gone.
UniqueFd TakeOver(int socket) {
  Handover handover;
  int fd = -1;
  ssize_t n;
  do n = ::recvmsg(socket, &handover.message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  const cmsghdr* header = n == 1 ? CMSG_FIRSTHDR(&handover.message) : nullptr;
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS)
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
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

// An answer begins with a byte, which brings a device where one was asked for.
bool GiveAnswer(int connection, const Status& status,
                const UniqueFd& device = UniqueFd()) {
  return HandOver(connection, device.get()) &&
         SendMessage(connection, ToMessage(status));
}

Status AwaitAnswer(int connection, UniqueFd* device = nullptr) {
  UniqueFd brought = TakeOver(connection);
  if (device != nullptr) *device = std::move(brought);
  return StatusIn(ReceiveMessage(connection));
}

Status MountFor(const KernelMount& mount, UniqueFd* device) {
  KF_ASSIGN_OR_RETURN(*device, MountForAnother(mount));
  return OkStatus();
}

Status Flush(const UniqueFd& root, const std::string& mountpoint) {
  if (!root.valid() || ::syncfs(root.get()) == 0) return OkStatus();
  return Status::FromErrno(errno, "sync " + mountpoint);
}

// The root is opened, and stays so, here: who has it can walk up from it, into the
// namespace that it is mounted in.
Status UnmountInUseFor(int connection, const std::string& mountpoint) {
  const UniqueFd root(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Status before = Flush(root, mountpoint);
  (void)Unmount(mountpoint, true);
  if (!GiveAnswer(connection, before)) return OtherEndGone();
  (void)ReceiveMessage(connection);
  return Flush(root, mountpoint);
}

Status Do(int connection, const json& request, const Duty& duty, UniqueFd* device) {
  KF_RETURN_IF_ERROR(duty.entered);
  const auto what = request.at("Do").get<std::string>();
  const std::string& mountpoint = duty.mount.mountpoint;
  if (duty.commands && what == "RunCommand") return RunFor(connection, request);
  if (!duty.commands && what == "Unmount")
    return Unmount(mountpoint, request.at("Lazy").get<bool>());
  if (!duty.commands && what == "UnmountInUse")
    return UnmountInUseFor(connection, mountpoint);
  if (!duty.commands && what == "Mount" && !duty.name_space.empty())
    return MountFor(duty.mount, device);
  return {Error::kAccessDenied, "This process is for something else."};
}

// AnswerOne answers one request in a process of its own, so that none waits for
// another.
[[noreturn]] void AnswerOne(const UniqueFd& connection, const Duty& duty) {
  ::signal(SIGCHLD, SIG_DFL);
  Status status;
  UniqueFd device;
  try {
    status = Do(connection.get(), ReceiveMessage(connection.get()), duty, &device);
  } catch (const std::exception& error) {
    status = {Error::kInternal, error.what()};
  }
  (void)GiveAnswer(connection.get(), status, device);
  ::_exit(0);
}

// KeepForMount leaves what mount(2) and umount(2) need. Programs of root's get all that
// root has.
void KeepForMount() {
  const Capabilities own = Capabilities::OfThread();
  Capabilities few = Capabilities::None();
  for (unsigned one : {CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH}) few.AddFrom(own, one);
  if (!few.Take()) ::_exit(1);
}

[[noreturn]] void BeOutside(UniqueFd socket, Duty duty) {
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
  if (!duty.name_space.empty()) duty.entered = EnterMountNamespace(duty.name_space);
  if (!duty.commands) KeepForMount();
  for (;;) {
    const UniqueFd connection = TakeOver(kSocket);
    if (!connection.valid()) ::_exit(0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(kSocket);
      AnswerOne(connection, duty);
    }
  }
}

Result<UniqueFd> Connect(int socket) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return Status::FromErrno(errno, "socketpair");
  UniqueFd mine(ends[0]);
  const UniqueFd theirs(ends[1]);
  if (!HandOver(socket, theirs.get())) return OtherEndGone();
  return mine;
}

// Begin forks one; its end of the connection is what the daemon has of it.
Result<UniqueFd> Begin(Duty duty) {
  KF_ASSIGN_OR_RETURN(ForkedProcess begun,
                      ForkProcess(SOCK_SEQPACKET, [&duty](UniqueFd socket) {
                        BeOutside(std::move(socket), std::move(duty));
                      }));
  return std::move(begun.socket);
}

}  // namespace

Result<std::unique_ptr<Outside>> Outside::ForMount(const KernelMount& mount,
                                                   const std::string& name_space) {
  KF_ASSIGN_OR_RETURN(UniqueFd socket, Begin({false, mount, name_space, OkStatus()}));
  return std::unique_ptr<Outside>(new Outside(std::move(socket)));
}

Result<std::unique_ptr<Outside>> Outside::ForCommands() {
  KF_ASSIGN_OR_RETURN(UniqueFd socket, Begin({true, {}, "", OkStatus()}));
  return std::unique_ptr<Outside>(new Outside(std::move(socket)));
}

Result<UniqueFd> Outside::Mount() const {
  KF_ASSIGN_OR_RETURN(const UniqueFd connection, Connect(socket_.get()));
  if (!SendMessage(connection.get(), {{"Do", "Mount"}})) return OtherEndGone();
  UniqueFd device;
  KF_RETURN_IF_ERROR(AwaitAnswer(connection.get(), &device));
  if (!device.valid()) return OtherEndGone();
  return device;
}

Status Outside::Unmount(bool lazy) const {
  KF_ASSIGN_OR_RETURN(const UniqueFd connection, Connect(socket_.get()));
  if (!SendMessage(connection.get(), {{"Do", "Unmount"}, {"Lazy", lazy}}))
    return OtherEndGone();
  return AwaitAnswer(connection.get());
}

Status Outside::UnmountInUse(const std::function<void()>& meanwhile) const {
  KF_ASSIGN_OR_RETURN(const UniqueFd connection, Connect(socket_.get()));
  if (!SendMessage(connection.get(), {{"Do", "UnmountInUse"}})) return OtherEndGone();
  const Status before = AwaitAnswer(connection.get());
  meanwhile();
  if (!SendMessage(connection.get(), {{"Do", "Flush"}})) return OtherEndGone();
  const Status after = AwaitAnswer(connection.get());
  return before.ok() ? after : before;
}

Status Outside::RunCommand(const policy::AlertAction& action, const std::string& alert,
                           const std::string& record,
                           const std::atomic<bool>& ending) const {
  KF_ASSIGN_OR_RETURN(const UniqueFd connection, Connect(socket_.get()));
  const json request = {{"Do", "RunCommand"},  {"Command", action.command},
                        {"User", action.user}, {"Timeout", action.timeout.count()},
                        {"Alert", alert},      {"Record", record}};
  if (!SendMessage(connection.get(), request)) return OtherEndGone();
  constexpr int kLook = 500;  // ms
  pollfd wait{connection.get(), POLLIN, 0};
  for (bool told = false; ::poll(&wait, 1, kLook) <= 0;) {
    if (ending && !told) told = ::shutdown(connection.get(), SHUT_WR) == 0;
  }
  return AwaitAnswer(connection.get());
}

}  // namespace keyfold
