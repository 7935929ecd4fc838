#include "kms/api/ApiServer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "kms/api/Endpoint.h"
#include "kms/api/Exposition.h"
#include "kms/api/LoopbackSocket.h"
#include "kms/api/ServeHttp.h"
#include "kms/api/SocketFile.h"
#include "kms/api/SubordinateIds.h"
#include "kms/service/Identity.h"

namespace keyfold {
namespace {

constexpr char kMetricsPath[] = "/metrics";

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
  caller->executable = Executable(peer.pid);
  caller->source = "local";
  return true;
}

Caller TcpPeerOf(int fd) {
  Caller peer;
  peer.uid = PeerUid(fd).value_or(kUnknownUid);
  peer.source = PeerAddress(fd);
  return peer;
}

// ListenAt leaves `socket` empty for an empty address.
Status ListenAt(const std::string& address, std::optional<LoopbackSocket>* socket) {
  if (address.empty()) return OkStatus();
  KF_ASSIGN_OR_RETURN(LoopbackSocket listening, LoopbackSocket::Listen(address));
  socket->emplace(std::move(listening));
  return OkStatus();
}

Result<std::shared_ptr<const TlsServer>> LoadTls(const ApiServerOptions& options) {
  KF_ASSIGN_OR_RETURN(TlsServer loaded,
                      TlsServer::Load(options.tls_certificate, options.tls_key));
  return std::shared_ptr<const TlsServer>(
      std::make_shared<TlsServer>(std::move(loaded)));
}

}  // namespace

struct ApiServer::Impl {
  struct Connection {
    int fd = -1;
    uid_t uid = kUnknown;  // among whose it counts
    HttpHandler handler;
    HttpKind kind = HttpKind::kCalls;
    std::unique_ptr<TlsConnection> tls;
    bool refused = false;  // too many are there; it is only told so
    std::atomic<bool> done{false};
    std::thread thread;
    ~Connection() {
      if (thread.joinable()) thread.join();
      if (fd >= 0) ::close(fd);
    }
  };
  // A user whose connections the kernel cannot tell counts as one of its own.
  static constexpr uid_t kUnknown = kUnknownUid;
  // For the machine's and the account's root user besides, so that they can act.
  static constexpr size_t kReserved = 8;
  // So many more are told that there are too many; others are closed at once.
  static constexpr size_t kMostRefused = 16;

  Impl(Kms& k, ApiServerOptions o, const Clock& clock, SocketFile s,
       std::optional<LoopbackSocket> l, std::shared_ptr<const TlsServer> t,
       std::optional<LoopbackSocket> m)
      : options(std::move(o)),
        kms(k),
        root_uid(kms.account().root_uid),
        local(std::move(s)),
        loopback(std::move(l)),
        tls(std::move(t)),
        metrics(std::move(m)),
        endpoint(kms, clock, [this] { return StatusMembers(); }) {}

  nlohmann::json StatusMembers() const;
  void AcceptAll();
  void Accept(int listener);
  bool Identify(Connection& connection, int listener);
  bool IdentifyLocal(Connection& connection);
  bool IdentifySigned(Connection& connection);
  void IdentifyWatcher(Connection& connection);
  Reply Metrics(const Caller& peer);
  bool Full(uid_t uid) const;
  bool MayRefuse(Connection& connection) const;
  void Reap(bool all);
  void Wake() {
    const uint64_t one = 1;
    if (::write(wake, &one, sizeof one) < 0) return;  // full: already awake
  }

  const ApiServerOptions options;
  Kms& kms;
  const uid_t root_uid;
  SocketFile local;
  std::optional<LoopbackSocket> loopback;
  // Of the loopback socket; null: none. Replaced as a whole.
  std::atomic<std::shared_ptr<const TlsServer>> tls;
  std::optional<LoopbackSocket> metrics;
  Endpoint endpoint;
  // Who may use thousands of ids in a namespace is one user all the same.
  const SubordinateIds subordinates = SubordinateIds::Read();
  int wake = -1;  // eventfd: a connection ended, or the server stops
  std::atomic<bool> stopping{false};
  std::list<Connection> connections;  // the accepting thread's alone
  std::thread acceptor;
};

nlohmann::json ApiServer::Impl::StatusMembers() const {
  nlohmann::json members = options.status ? options.status() : nlohmann::json::object();
  if (loopback)
    members["KmsEndpoint"] =
        (tls.load() ? "https://" : "http://") + loopback->address();
  if (metrics) members["Metrics"] = "http://" + metrics->address() + kMetricsPath;
  return members;
}

bool ApiServer::Impl::Full(uid_t uid) const {
  size_t all = 0, own = 0;
  for (const Connection& one : connections) {
    if (one.refused) continue;
    ++all;
    if (one.uid == uid) ++own;
  }
  // The last quarter is for users who have none yet, so that a few cannot keep the
  // others out.
  const size_t most = uid == 0 || uid == root_uid ? options.max_connections + kReserved
                      : own == 0                  ? options.max_connections
                                                  : options.max_connections * 3 / 4;
  return all >= most || own >= options.max_connections_per_user;
}

// MayRefuse lets the connection's first request be answered that there are too many.
bool ApiServer::Impl::MayRefuse(Connection& connection) const {
  const auto refused = std::count_if(connections.begin(), connections.end(),
                                     [](const auto& c) { return c.refused; });
  connection.refused = true;
  connection.handler = [](const HttpRequest&) {
    Reply reply = ErrorReply("ThrottlingException",
                             "There are too many connections at once.", 503);
    reply.close = true;
    return reply;
  };
  return static_cast<size_t>(refused) < kMostRefused;
}

// Identify finds out whose connection it is, and who answers for its requests.
bool ApiServer::Impl::Identify(Connection& connection, int listener) {
  if (listener == local.fd()) return IdentifyLocal(connection);
  if (loopback && listener == loopback->fd()) return IdentifySigned(connection);
  IdentifyWatcher(connection);
  return true;
}

bool ApiServer::Impl::IdentifyLocal(Connection& connection) {
  Caller caller;
  if (!PeerOf(connection.fd, &caller)) return false;
  connection.uid = subordinates.OwnerOf(caller.uid);
  connection.handler = [this, caller](const HttpRequest& request) {
    return endpoint.Serve(caller, request);
  };
  return true;
}

bool ApiServer::Impl::IdentifySigned(Connection& connection) {
  const int on = 1;
  ::setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const Caller peer = TcpPeerOf(connection.fd);
  connection.uid = subordinates.OwnerOf(peer.uid);
  connection.handler = [this, peer](const HttpRequest& request) {
    return endpoint.ServeSigned(peer, request);
  };
  const auto speaks = tls.load();
  if (!speaks) return true;
  connection.tls = speaks->Accept(connection.fd);
  return connection.tls != nullptr;
}

void ApiServer::Impl::IdentifyWatcher(Connection& connection) {
  const Caller peer = TcpPeerOf(connection.fd);
  connection.uid = subordinates.OwnerOf(peer.uid);
  connection.kind = HttpKind::kPages;
  connection.handler = [this, peer](const HttpRequest& request) {
    // A page of the web's, in the browser of who may, comes by a name of its own.
    const std::string* host = request.Header("host");
    const std::string& own = metrics->address();
    if (host == nullptr ||
        (*host != own && *host != "localhost" + own.substr(own.rfind(':'))))
      return ErrorReply("UnknownOperationException",
                        "Ask this machine by its loopback address.", 421);
    if (request.method == "GET" && request.target == kMetricsPath) return Metrics(peer);
    return ErrorReply("UnknownOperationException",
                      std::string("Only GET of ") + kMetricsPath + " is answered.",
                      404);
  };
}

// Metrics is for who may know how much others do. What reaches the port says nothing of
// who that is, so the kernel is asked whose process it is.
Reply ApiServer::Impl::Metrics(const Caller& peer) {
  const auto& users = options.metrics_users;
  if (peer.uid == 0 || peer.uid == root_uid || peer.uid == ::geteuid() ||
      (peer.uid != kUnknown &&
       std::find(users.begin(), users.end(), peer.uid) != users.end()))
    return {200, options.metrics(), {}, kExpositionType};
  const Status refused(Error::kAccessDenied,
                       "Metrics are for root and for whom --metrics-user names.");
  kms.RecordRefusal(peer, refused);
  return ErrorReply(ErrorName(refused.error()), refused.message(), 403);
}

void ApiServer::Impl::Accept(int listener) {
  // Built apart, so that it does not count among those that are there.
  std::list<Connection> one(1);
  Connection& connection = one.front();
  const bool speaks_tls = tls.load() && loopback && listener == loopback->fd();
  connection.fd = ::accept4(listener, nullptr, nullptr,
                            SOCK_CLOEXEC | (speaks_tls ? SOCK_NONBLOCK : 0));
  if (connection.fd < 0) {
    // Out of descriptors or memory: the pending connection stays, so wait.
    if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN) ::usleep(100'000);
    return;
  }
  if (!Identify(connection, listener)) return;
  if (Full(connection.uid) && !MayRefuse(connection)) return;
  connection.thread = std::thread([this, &connection] {
    ServeHttp(connection.fd, connection.handler, connection.tls.get(), connection.kind);
    ::shutdown(connection.fd, SHUT_RDWR);
    connection.done = true;
    Wake();
  });
  connections.splice(connections.end(), one);
}

// Reap closes descriptors here rather than where they were served, so that no
// shutdown() can hit a number that was given out again.
void ApiServer::Impl::Reap(bool all) {
  for (auto it = connections.begin(); it != connections.end();)
    it = all || it->done ? connections.erase(it) : std::next(it);
}

void ApiServer::Impl::AcceptAll() {
  while (!stopping) {
    pollfd entries[] = {{wake, POLLIN, 0},
                        {local.fd(), POLLIN, 0},
                        {loopback ? loopback->fd() : -1, POLLIN, 0},
                        {metrics ? metrics->fd() : -1, POLLIN, 0}};
    if (::poll(entries, std::size(entries), -1) < 0) continue;
    if (entries[0].revents != 0) {
      uint64_t count;
      if (::read(wake, &count, sizeof count) < 0) continue;
    }
    Reap(false);
    for (const pollfd& entry : {entries[1], entries[2], entries[3]}) {
      if (entry.revents == 0 || stopping) continue;
      try {
        Accept(entry.fd);
      } catch (const std::exception&) {  // no memory or threads: it is closed
      }
    }
  }
  for (Connection& connection : connections) ::shutdown(connection.fd, SHUT_RDWR);
  Reap(true);
}

ApiServer::ApiServer() = default;

Result<std::unique_ptr<ApiServer>> ApiServer::Start(Kms& kms, ApiServerOptions options,
                                                    const Clock& clock) {
  KF_ASSIGN_OR_RETURN(SocketFile local, SocketFile::Listen(options.socket_path));
  std::optional<LoopbackSocket> loopback, metrics;
  KF_RETURN_IF_ERROR(ListenAt(options.listen, &loopback));
  KF_RETURN_IF_ERROR(ListenAt(options.metrics_listen, &metrics));
  std::shared_ptr<const TlsServer> tls;
  if (!options.tls_certificate.empty()) {
    KF_ASSIGN_OR_RETURN(tls, LoadTls(options));
  }
  std::unique_ptr<ApiServer> server(new ApiServer);
  server->impl_ =
      std::make_unique<Impl>(kms, std::move(options), clock, std::move(local),
                             std::move(loopback), std::move(tls), std::move(metrics));
  Impl& impl = *server->impl_;
  impl.wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (impl.wake < 0) return Status::FromErrno(errno, "eventfd");
  impl.acceptor = std::thread([&impl] { impl.AcceptAll(); });
  return server;
}

Status ApiServer::ReloadTls() {
  if (impl_->options.tls_certificate.empty()) return OkStatus();
  KF_ASSIGN_OR_RETURN(impl_->tls, LoadTls(impl_->options));
  return OkStatus();
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
