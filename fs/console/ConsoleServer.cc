#include "fs/console/ConsoleServer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <list>
#include <thread>

namespace keyfold {
namespace {

constexpr size_t kMostConnections = 64;
constexpr int kTickMs = 1000;
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
  // The cookie goes to every port of this host, and so to other users' servers: it
  // counts only from this user's own processes.
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

}  // namespace

Result<ConsoleServer> ConsoleServer::Listen(uint16_t port) {
  KF_ASSIGN_OR_RETURN(LoopbackSocket socket,
                      LoopbackSocket::Listen("127.0.0.1:" + std::to_string(port)));
  // A connection that is gone again must not make the next accept wait.
  if (::fcntl(socket.fd(), F_SETFL, O_NONBLOCK) != 0)
    return Status::FromErrno(errno, "fcntl");
  return ConsoleServer(std::move(socket));
}

std::string ConsoleServer::Run(const HttpHandler& handler, const Until& until) {
  std::list<Connection> connections;
  for (;;) {
    std::array<pollfd, 2> entries{{{socket_.fd(), POLLIN, 0}, {until.terminal, 0, 0}}};
    const int found = ::poll(entries.data(), entries.size(), kTickMs);
    connections.remove_if([](const Connection& one) { return one.done.load(); });
    if (found > 0 && entries[1].revents != 0) return "The terminal is gone.";
    if (until.idle_for() >= until.most_idle)
      return "Nobody used the console for " + std::to_string(until.most_idle.count()) +
             " s.";
    if (found <= 0 || entries[0].revents == 0) continue;
    try {
      Accept(socket_.fd(), handler, connections);
    } catch (const std::exception&) {  // no memory or threads: it is closed
    }
  }
}

}  // namespace keyfold
