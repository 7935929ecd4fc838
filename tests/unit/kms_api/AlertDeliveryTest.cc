// Do alerts reach commands and webhooks, and does nothing that hangs hold them up?
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <new>
#include <thread>

#include "kms/api/AlertCommand.h"
#include "kms/api/AlertDelivery.h"
#include "kms/api/LoopbackSocket.h"
#include "kms/api/ServeHttp.h"
#include "tests/unit/TempFolder.h"

namespace keyfold {
namespace {

using policy::AlertAction;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Commands = AlertDelivery::Commands;

// DrippingServer sends a header without end, a byte at a time.
class DrippingServer {
 public:
  DrippingServer() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(socket_, generic, size) != 0 || listen(socket_, 8) != 0 ||
        getsockname(socket_, generic, &size) != 0)
      std::abort();
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Drip(); });
  }
  ~DrippingServer() {
    done_ = true;
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }
  std::atomic<int> connections{0};

 private:
  void Drip() {
    while (!done_) {
      const int client = accept(socket_, nullptr, nullptr);
      if (client < 0) continue;
      ++connections;
      const char* byte = "HTTP/1.1 200 OK\r\nX-Long: ";
      while (!done_ && send(client, byte, 1, MSG_NOSIGNAL) == 1) {
        if (byte[1] != '\0') ++byte;
        std::this_thread::sleep_for(milliseconds(100));
      }
      close(client);
    }
  }

  int socket_;
  uint16_t port_ = 0;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

// TlsReceiver takes webhooks by HTTPS, with a certificate of its own making.
class TlsReceiver {
 public:
  // `name` is whom the certificate is for: "IP:127.0.0.1".
  explicit TlsReceiver(const std::string& name) {
    signal(SIGPIPE, SIG_IGN);  // as the program does
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=receiver -addext subjectAltName=" +
        name + " -keyout " + folder_ / "key" + " -out " + certificate() +
        " 2>/dev/null";
    if (std::system(command.c_str()) != 0) std::abort();
    auto server = TlsServer::Load(certificate(), folder_ / "key");
    if (!server.ok()) std::abort();
    server_.emplace(std::move(server).value());
    thread_ = std::thread([this] { Receive(); });
  }
  ~TlsReceiver() {
    done_ = true;
    shutdown(listener_.fd(), SHUT_RDWR);
    thread_.join();
  }
  std::string certificate() const { return folder_ / "certificate"; }
  std::string url() const { return "https://" + listener_.address() + "/"; }
  std::atomic<int> received{0};

 private:
  static LoopbackSocket Listening() {
    auto socket = LoopbackSocket::Listen("127.0.0.1:0");
    if (!socket.ok()) std::abort();
    return std::move(socket).value();
  }
  void Receive() {
    while (!done_) {
      const int client = accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK);
      if (client < 0) continue;
      const auto tls = server_->Accept(client);
      ServeHttp(client, {[this](const HttpRequest&) {
                  ++received;
                  return Reply{};
                }},
                tls.get());
      close(client);
    }
  }

  TempFolder folder_{"/tmp"};
  LoopbackSocket listener_ = Listening();
  std::optional<TlsServer> server_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

class AlertDeliveryTest : public testing::Test {
 protected:
  void Start(Commands commands) {
    delivery_ = std::make_unique<AlertDelivery>(
        commands, RunAlertCommand,
        [this](const std::string&, const std::string&, const Status& why) {
          std::lock_guard lock(mutex_);
          if (throws_-- > 0) throw std::bad_alloc();
          failures_.push_back(why.message());
        });
  }
  static Alert Of(AlertAction action) { return {"Test", "line", "{}", {action}}; }
  AlertAction Webhook(const std::string& url, seconds timeout) const {
    AlertAction action;
    action.kind = AlertAction::Kind::kWebhook;
    action.url = url;
    action.timeout = timeout;
    action.attempts = 1;
    return action;
  }
  AlertAction Shell(const std::string& script, bool stored) const {
    AlertAction action;
    action.kind = AlertAction::Kind::kCommand;
    action.command = {"/bin/bash", "-c", script};
    action.user = "root";
    action.timeout = seconds(1);
    action.stored = stored;
    return action;
  }
  std::string AwaitFailure(size_t number = 1) {
    for (int i = 0; i < 500; ++i) {
      {
        std::lock_guard lock(mutex_);
        if (failures_.size() >= number) return failures_[number - 1];
      }
      std::this_thread::sleep_for(milliseconds(20));
    }
    return "no failure";
  }
  std::string File(const char* name) const { return folder_ / name; }
  std::string AwaitText(const std::string& path) {
    std::string text;
    for (int i = 0; i < 500 && text.empty(); ++i) {
      std::ifstream(path) >> text;
      if (text.empty()) std::this_thread::sleep_for(milliseconds(20));
    }
    return text;
  }

  TempFolder folder_{"/tmp"};
  std::mutex mutex_;
  int throws_ = 0;
  std::vector<std::string> failures_;
  std::unique_ptr<AlertDelivery> delivery_;
};

TEST_F(AlertDeliveryTest, AWebhookThatDripsIsCutOff) {
  DrippingServer server;
  Start(Commands::kNone);
  const auto began = std::chrono::steady_clock::now();
  delivery_->Deliver(Of(Webhook(server.url(), seconds(1))));
  EXPECT_NE(AwaitFailure().find("in time"), std::string::npos) << AwaitFailure();
  EXPECT_LT(std::chrono::steady_clock::now() - began, seconds(4));
}

TEST_F(AlertDeliveryTest, TheEndDoesNotWaitForAWebhookThatDrips) {
  DrippingServer server;
  Start(Commands::kNone);
  delivery_->Deliver(Of(Webhook(server.url(), seconds(30))));
  while (server.connections == 0) std::this_thread::sleep_for(milliseconds(10));
  const auto began = std::chrono::steady_clock::now();
  delivery_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, seconds(6));
  EXPECT_NE(AwaitFailure().find("in time"), std::string::npos);
}

TEST_F(AlertDeliveryTest, AWebhookIsToldOnlyIfItsCertificateIsTrustedAndItsOwn) {
  TlsReceiver receiver("IP:127.0.0.1"), other("DNS:elsewhere.example");
  Start(Commands::kNone);
  delivery_->Deliver(Of(Webhook(receiver.url(), seconds(5))));
  EXPECT_NE(AwaitFailure().find("certificate"), std::string::npos) << AwaitFailure();
  setenv("SSL_CERT_FILE", other.certificate().c_str(), 1);
  delivery_->Deliver(Of(Webhook(other.url(), seconds(5))));
  EXPECT_NE(AwaitFailure(2).find("certificate"), std::string::npos) << AwaitFailure(2);
  EXPECT_EQ(receiver.received + other.received, 0);
  setenv("SSL_CERT_FILE", receiver.certificate().c_str(), 1);
  delivery_->Deliver(Of(Webhook(receiver.url(), seconds(5))));
  delivery_.reset();
  unsetenv("SSL_CERT_FILE");
  EXPECT_EQ(receiver.received, 1);
  EXPECT_EQ(failures_.size(), 2u);
}

TEST_F(AlertDeliveryTest, WhatFindsNoRoomInTheQueueIsCounted) {
  DrippingServer server;
  Start(Commands::kNone);
  // All threads are held up, and the rest waits.
  for (int i = 0; i < 1100; ++i)
    delivery_->Deliver(Of(Webhook(server.url(), seconds(i < 4 ? 2 : 1))));
  for (int i = 0; i < 10; ++i) delivery_->Deliver(Of(Shell("", false)));
  delivery_.reset();
  size_t dropped = 0, told = 0;
  for (const std::string& failure : failures_)
    if (failure.find("deliveries were dropped") != std::string::npos)
      dropped += std::stoul(failure);
    else
      ++told;
  EXPECT_GE(dropped, 100u);
  EXPECT_EQ(dropped + told, 1110u);
}

TEST_F(AlertDeliveryTest, OnlyCommandsThatMayBeAreRun) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  struct Case {
    Commands commands;
    bool stored, run;
  };
  for (const Case& one :
       {Case{Commands::kNone, false, false}, Case{Commands::kNone, true, false},
        Case{Commands::kApplied, false, true}, Case{Commands::kApplied, true, false},
        Case{Commands::kStored, false, true}, Case{Commands::kStored, true, true}}) {
    failures_.clear();
    std::filesystem::remove(File("mark"));
    Start(one.commands);
    delivery_->Deliver(Of(Shell("echo x > " + File("mark"), one.stored)));
    delivery_.reset();
    EXPECT_EQ(std::filesystem::exists(File("mark")), one.run);
    EXPECT_EQ(failures_.size(), one.run ? 0u : 1u);
  }
}

TEST_F(AlertDeliveryTest, AllThatACommandStartedEndsWithIt) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Start(Commands::kApplied);
  // With job control the shell gives it a process group of its own.
  delivery_->Deliver(Of(Shell("set -m; sleep 600 & echo $! > " + File("new") + "; mv " +
                                  File("new") + " " + File("child") + "; wait",
                              false)));
  EXPECT_NE(AwaitFailure().find("was killed"), std::string::npos) << AwaitFailure();
  const pid_t child = std::stoi(AwaitText(File("child")));
  ASSERT_GT(child, 1);
  std::string state = "?";
  for (int i = 0; i < 100; ++i) {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string number, name;
    if (!(stat >> number >> name >> state) || state == "Z") return;
    std::this_thread::sleep_for(milliseconds(20));
  }
  kill(child, SIGKILL);
  FAIL() << "the child lives on, state " << state;
}

TEST_F(AlertDeliveryTest, WantOfMemoryEndsNothing) {
  Start(Commands::kNone);
  throws_ = 1;
  delivery_->Deliver(Of(Shell("", false)));
  for (int i = 0; i < 100; ++i) {
    std::lock_guard lock(mutex_);
    if (throws_ <= 0) break;
    std::this_thread::sleep_for(milliseconds(20));
  }
  delivery_->Deliver(Of(Shell("", false)));
  EXPECT_NE(AwaitFailure().find("alert-commands"), std::string::npos);
  EXPECT_NE(AwaitFailure(2).find("1 deliveries were dropped"), std::string::npos);
}

}  // namespace
}  // namespace keyfold
