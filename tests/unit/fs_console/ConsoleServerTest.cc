// Are only this user's processes served, at both addresses, and for as long as is
// meant?
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "fs/console/ConsoleServer.h"
#include "kms/base/UniqueFd.h"

namespace keyfold {
namespace {

using namespace std::chrono_literals;

constexpr uid_t kSomebodyElse = 65534;
constexpr size_t kMostConnections = 64;

UniqueFd ConnectTo(int family, uint16_t port) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (family == AF_INET) {
    auto* at = reinterpret_cast<sockaddr_in*>(&storage);
    *at = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
    size = sizeof *at;
  } else {
    auto* at = reinterpret_cast<sockaddr_in6*>(&storage);
    at->sin6_family = AF_INET6;
    at->sin6_port = htons(port);
    at->sin6_addr = in6addr_loopback;
    size = sizeof *at;
  }
  const timeval patience{10, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0)
    return UniqueFd();
  return fd;
}

// What comes until the end, or until `enough` is in it.
std::string ReadFrom(int fd, const std::string& enough = "") {
  std::string text;
  char part[512];
  for (;;) {
    const ssize_t n = ::recv(fd, part, sizeof part, 0);
    if (n < 0) return text + "(nothing more)";
    if (n == 0) return text;
    text.append(part, static_cast<size_t>(n));
    if (!enough.empty() && text.find(enough) != std::string::npos) return text;
  }
}

std::string Get(int fd) {
  constexpr char kRequest[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  if (::send(fd, kRequest, sizeof kRequest - 1, MSG_NOSIGNAL) < 0) return "(not sent)";
  return ReadFrom(fd, "served");
}

class ConsoleServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto listening = ConsoleServer::Listen(0);
    ASSERT_TRUE(listening.ok()) << listening.status().ToString();
    server_.emplace(*std::move(listening));
  }
  // Runs until the test ends it, or `most_idle`.
  void Start(std::chrono::seconds most_idle = 3600s, int terminal = -1) {
    running_ = std::thread([this, most_idle, terminal] {
      const auto serve = [](const HttpRequest&) {
        Reply reply;
        reply.body = "served";
        return reply;
      };
      ConsoleServer::Until until;
      until.idle_for = [this] { return idle_.load(); };
      until.most_idle = most_idle;
      until.terminal = terminal;
      why_ = server_->Run(serve, until);
    });
  }
  std::string End() {
    idle_ = 24h;
    running_.join();
    return why_;
  }
  void TearDown() override {
    if (running_.joinable()) End();
  }

  std::optional<ConsoleServer> server_;
  std::atomic<std::chrono::seconds> idle_{0s};
  std::thread running_;
  std::string why_;
};

TEST_F(ConsoleServerTest, BothAddressesAreServedAndNobodyElseCanHaveThem) {
  Start();
  for (const int family : {AF_INET, AF_INET6}) {
    const UniqueFd fd = ConnectTo(family, server_->port());
    ASSERT_TRUE(fd.valid()) << family;
    EXPECT_NE(Get(fd.get()).find("HTTP/1.1 200"), std::string::npos) << family;
  }
  for (const char* host : {"127.0.0.1:", "[::1]:"})
    EXPECT_EQ(LoopbackSocket::Listen(host + std::to_string(server_->port()))
                  .status()
                  .sys_errno(),
              EADDRINUSE);
  EXPECT_EQ(ConsoleServer::Listen(server_->port()).status().sys_errno(), EADDRINUSE);
}

TEST_F(ConsoleServerTest, AnotherUsersProcessIsTurnedAwayUnheard) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to be somebody else";
  Start();
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const uint16_t port = server_->port();
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(kSomebodyElse, kSomebodyElse, kSomebodyElse) != 0) ::_exit(1);
    const UniqueFd fd = ConnectTo(AF_INET, port);
    const std::string got = Get(fd.get());
    ::_exit(::write(writing.get(), got.data(), got.size()) < 0);
  }
  writing.Close();
  std::string told(512, '\0');
  const ssize_t n = ::read(reading.get(), told.data(), told.size());
  ::waitpid(child, nullptr, 0);
  told.resize(n > 0 ? static_cast<size_t>(n) : 0);
  EXPECT_NE(told.find("HTTP/1.1 403"), std::string::npos) << told;
  EXPECT_EQ(told.find("served"), std::string::npos) << told;
}

TEST_F(ConsoleServerTest, ItEndsWhenNobodyUsesItAndClosesWhatIsOpen) {
  Start(2s);
  const UniqueFd kept = ConnectTo(AF_INET, server_->port());
  EXPECT_NE(Get(kept.get()).find("served"), std::string::npos);
  idle_ = 2s;
  running_.join();
  EXPECT_EQ(why_, "Nobody used the console for 2 s.");
  EXPECT_EQ(ReadFrom(kept.get()), "");
}

TEST_F(ConsoleServerTest, ItEndsWithItsTerminal) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd terminal(ends[0]);
  UniqueFd other(ends[1]);
  Start(3600s, terminal.get());
  other.Close();
  running_.join();
  EXPECT_EQ(why_, "The terminal is gone.");
}

TEST_F(ConsoleServerTest, OneConnectionTooManyIsClosedAndTheOthersAreServed) {
  Start();
  std::vector<UniqueFd> open;
  for (size_t i = 0; i < kMostConnections; ++i) {
    open.push_back(ConnectTo(AF_INET, server_->port()));
    ASSERT_NE(Get(open.back().get()).find("served"), std::string::npos) << i;
  }
  const UniqueFd more = ConnectTo(AF_INET, server_->port());
  EXPECT_EQ(ReadFrom(more.get()), "");
  EXPECT_NE(Get(open.front().get()).find("served"), std::string::npos);
  open.pop_back();
  // The place is free again within a tick.
  for (int tries = 0; tries < 50; ++tries) {
    const UniqueFd next = ConnectTo(AF_INET, server_->port());
    if (Get(next.get()).find("served") != std::string::npos) return;
    std::this_thread::sleep_for(100ms);
  }
  FAIL() << "no place became free";
}

}  // namespace
}  // namespace keyfold
