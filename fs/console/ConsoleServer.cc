#include "fs/console/ConsoleServer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <list>
#include <thread>

namespace keyfold {
namespace {

constexpr size_t kMostConnections = 64;
constexpr int kTickMs = 1000;
constexpr int kTries = 16;  // for a port that is free of both kinds
constexpr char kNotYours[] =
    "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    "Content-Length: 36\r\n\r\nThis console belongs to another user";

struct Connection {
  int fd = -1;
  std::atomic<bool> done{false};
  std::thread thread;
  ~Connection() {
    if (fd >= 0) ::shutdown(fd, SHUT_RDWR);
    if (thread.joinable()) thread.join();
    if (fd >= 0) ::close(fd);
  }
};

void Accept(int listener, const HttpHandler& handler, std::list<Connection>& all) {
  std::list<Connection> one(1);
  Connection& connection = one.front();
  connection.fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (connection.fd < 0) return;
  // Whoever got hold of the token or the cookie: both count only from this user's own
  // processes.
  if (PeerUid(connection.fd) != ::getuid()) {
    (void)::send(connection.fd, kNotYours, sizeof kNotYours - 1,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  if (all.size() >= kMostConnections) return;
  const int on = 1;
  ::setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  connection.thread = std::thread([&connection, &handler] {
    ServeHttp(connection.fd, handler, nullptr, HttpKind::kPages);
    ::shutdown(connection.fd, SHUT_RDWR);
    connection.done = true;
  });
  all.splice(all.end(), one);
}

Result<LoopbackSocket> ListenOn(const std::string& host, uint16_t port) {
  KF_ASSIGN_OR_RETURN(LoopbackSocket socket,
                      LoopbackSocket::Listen(host + ":" + std::to_string(port)));
  // A connection that is gone again must not make the next accept wait.
  if (::fcntl(socket.fd(), F_SETFL, O_NONBLOCK) != 0)
    return Status::FromErrno(errno, "fcntl");
  return socket;
}

Result<std::vector<LoopbackSocket>> ListenOnBoth(uint16_t port) {
  std::vector<LoopbackSocket> sockets;
  KF_ASSIGN_OR_RETURN(LoopbackSocket v4, ListenOn("127.0.0.1", port));
  auto v6 = ListenOn("[::1]", v4.port());
  // On a machine without IPv6 nobody can listen there.
  const int failure = v6.status().sys_errno();
  if (!v6.ok() && failure != EAFNOSUPPORT && failure != EADDRNOTAVAIL)
    return v6.status();
  sockets.push_back(std::move(v4));
  if (v6.ok()) sockets.push_back(*std::move(v6));
  return sockets;
}

}  // namespace

Result<ConsoleServer> ConsoleServer::Listen(uint16_t port) {
  for (int left = kTries;; --left) {
    auto sockets = ListenOnBoth(port);
    if (sockets.ok()) return ConsoleServer(*std::move(sockets));
    const bool other_may_be_free =
        port == 0 && left > 1 && sockets.status().sys_errno() == EADDRINUSE;
    if (!other_may_be_free) return sockets.status();
  }
}

std::string ConsoleServer::Run(const HttpHandler& handler, const Until& until) {
  std::list<Connection> connections;
  std::vector<pollfd> entries = {{until.terminal, 0, 0}};
  for (const LoopbackSocket& socket : sockets_)
    entries.push_back({socket.fd(), POLLIN, 0});
  for (;;) {
    const int found = ::poll(entries.data(), entries.size(), kTickMs);
    connections.remove_if([](const Connection& one) { return one.done.load(); });
    if (found > 0 && entries[0].revents != 0) return "The terminal is gone.";
    if (until.idle_for() >= until.most_idle)
      return "Nobody used the console for " + std::to_string(until.most_idle.count()) +
             " s.";
    if (found <= 0) continue;
    for (size_t i = 1; i < entries.size(); ++i) {
      if (entries[i].revents == 0) continue;
      try {
        Accept(entries[i].fd, handler, connections);
      } catch (const std::exception&) {  // no memory or threads: it is closed
      }
    }
  }
}

}  // namespace keyfold
