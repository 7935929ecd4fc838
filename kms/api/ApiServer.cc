#include "kms/api/ApiServer.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <list>
#include <optional>
#include <thread>
#include <vector>

#include "kms/api/HttpService.h"
#include "kms/api/Protocol.h"
#include "kms/api/SocketFile.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kBusy[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/x-amz-json-1.1\r\n"
    "Connection: close\r\nContent-Length: 73\r\n\r\n"
    R"({"__type":"ThrottlingException","message":"Too many connections at once"})";

// GroupsOf asks for the supplementary groups the peer had when it connected.
bool GroupsOf(int fd, std::vector<gid_t>* groups) {
  groups->resize(64);
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto size = static_cast<socklen_t>(groups->size() * sizeof(gid_t));
    const int result =
        ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups->data(), &size);
    if (result != 0 && errno != ERANGE) return false;
    groups->resize(size / sizeof(gid_t));  // with ERANGE: how many there are
    if (result == 0) return true;
  }
  return false;
}

bool PeerOf(int fd, Caller* caller) {
  ucred peer{};
  socklen_t size = sizeof peer;
  std::vector<gid_t> groups;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      !GroupsOf(fd, &groups))
    return false;
  *caller = {};
  caller->uid = peer.uid;
  caller->gid = peer.gid;
  caller->pid = peer.pid;
  caller->groups = std::move(groups);
  caller->source = "local";
  return true;
}

}  // namespace

struct ApiServer::Impl {
  struct Connection {
    int fd = -1;
    Caller caller;
    std::atomic<bool> done{false};
    std::thread thread;
  };

  Impl(Kms& k, ApiServerOptions o, SocketFile s)
      : kms(k),
        options(std::move(o)),
        socket(std::move(s)),
        http([this](const Caller& caller, const std::string& target,
                    const std::string& body) { return Handle(caller, target, body); }) {
  }

  Reply Handle(const Caller& caller, const std::string& header,
               const std::string& body);
  void AcceptAll();
  void AcceptOne();
  void Reap(bool all);
  bool Full(uid_t uid) const;
  void Wake() {
    const uint64_t one = 1;
    if (::write(wake, &one, sizeof one) < 0) return;  // full: already awake
  }

  Kms& kms;
  const ApiServerOptions options;
  SocketFile socket;
  HttpService http;
  int wake = -1;  // eventfd: a connection ended, or the server stops
  std::atomic<bool> stopping{false};
  std::list<Connection> connections;  // the accepting thread's alone
  std::thread acceptor;
};

Reply ApiServer::Impl::Handle(const Caller& caller, const std::string& header,
                              const std::string& body) {
  const auto target = ParseTarget(header);
  if (!target)
    return ErrorReply("UnknownOperationException",
                      "There is no operation of this name.");
  const auto request = ParseRequest(body);
  if (!request)
    return ErrorReply("SerializationException", "The body is not a JSON object.");
  auto answer = kms.Call(caller, target->service, target->operation, *request);
  if (!answer.ok()) return ErrorReply(answer.status());
  if (target->service == "store" && target->operation == "GetStatus" && options.status)
    answer->update(options.status());
  return SuccessReply(*answer);
}

bool ApiServer::Impl::Full(uid_t uid) const {
  const auto own = std::count_if(connections.begin(), connections.end(),
                                 [&](const auto& c) { return c.caller.uid == uid; });
  // The last quarter is for users who have none yet, so that a few cannot keep the
  // others out.
  const size_t most =
      own == 0 ? options.max_connections : options.max_connections * 3 / 4;
  return connections.size() >= most ||
         static_cast<size_t>(own) >= options.max_connections_per_user;
}

void ApiServer::Impl::AcceptOne() {
  const int fd = ::accept4(socket.fd(), nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) {
    // Out of descriptors or memory: the pending connection stays, so wait.
    if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN) ::usleep(100'000);
    return;
  }
  Caller caller;
  if (!PeerOf(fd, &caller) || Full(caller.uid)) {
    (void)::send(fd, kBusy, sizeof kBusy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    ::close(fd);
    return;
  }
  Connection& connection = connections.emplace_back();
  connection.fd = fd;
  connection.caller = caller;
  try {
    connection.thread = std::thread([this, &connection] {
      http.Serve(connection.fd, connection.caller);
      ::shutdown(connection.fd, SHUT_RDWR);
      connection.done = true;
      Wake();
    });
  } catch (const std::exception&) {  // no more threads
    ::close(fd);
    connections.pop_back();
  }
}

// Reap closes descriptors here rather than where they were served, so that no
// shutdown() can hit a number that was given out again.
void ApiServer::Impl::Reap(bool all) {
  for (auto it = connections.begin(); it != connections.end();) {
    if (!all && !it->done) {
      ++it;
      continue;
    }
    it->thread.join();
    ::close(it->fd);
    it = connections.erase(it);
  }
}

void ApiServer::Impl::AcceptAll() {
  while (!stopping) {
    pollfd entries[2] = {{socket.fd(), POLLIN, 0}, {wake, POLLIN, 0}};
    if (::poll(entries, 2, -1) < 0) continue;
    if (entries[1].revents != 0) {
      uint64_t count;
      if (::read(wake, &count, sizeof count) < 0) continue;
    }
    Reap(false);
    if (entries[0].revents == 0 || stopping) continue;
    try {
      AcceptOne();
    } catch (const std::bad_alloc&) {  // this one waits, or is closed
    }
  }
  for (Connection& connection : connections) ::shutdown(connection.fd, SHUT_RDWR);
  Reap(true);
}

ApiServer::ApiServer() = default;

Result<std::unique_ptr<ApiServer>> ApiServer::Start(Kms& kms,
                                                    ApiServerOptions options) {
  KF_ASSIGN_OR_RETURN(SocketFile socket, SocketFile::Listen(options.socket_path));
  std::unique_ptr<ApiServer> server(new ApiServer);
  server->impl_ = std::make_unique<Impl>(kms, std::move(options), std::move(socket));
  Impl& impl = *server->impl_;
  impl.wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (impl.wake < 0) return Status::FromErrno(errno, "eventfd");
  impl.acceptor = std::thread([&impl] { impl.AcceptAll(); });
  return server;
}

ApiServer::~ApiServer() {
  if (!impl_) return;
  impl_->stopping = true;
  if (impl_->acceptor.joinable()) {
    impl_->Wake();
    impl_->acceptor.join();
  }
  if (impl_->wake >= 0) ::close(impl_->wake);
}

}  // namespace keyfold
