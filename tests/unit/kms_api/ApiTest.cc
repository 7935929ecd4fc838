// Does the server believe only the kernel about who calls, keep slow clients
// from others, and answer as AWS KMS does?
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "kms/api/ApiClient.h"
#include "kms/api/ApiServer.h"
#include "kms/api/SocketFile.h"
#include "tests/unit/kms_api/FakeKms.h"

namespace keyfold {
namespace {

using nlohmann::json;

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() {
    char folder[] = "/tmp/keyfold-api-XXXXXX";
    folder_ = ::mkdtemp(folder);
    ::chmod(folder_.c_str(), 0755);
    options_.socket_path = folder_ + "/s";
    options_.status = [] { return json{{"mountpoint", "/m"}}; };
  }
  ~ApiTest() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void Start() {
    auto server = ApiServer::Start(kms_, options_);
    ASSERT_TRUE(server.ok()) << server.status().message();
    server_ = std::move(server).value();
  }
  int Connect() const {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    options_.socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  // Exchange sends `request`, ends its side, and returns what comes until the
  // server closes or is silent for three seconds.
  std::string Exchange(const std::string& request) const {
    const int fd = Connect();
    std::string answer;
    EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    ::shutdown(fd, SHUT_WR);
    char buffer[4096];
    pollfd entry{fd, POLLIN, 0};
    while (::poll(&entry, 1, 3000) > 0) {
      const ssize_t count = ::recv(fd, buffer, sizeof buffer, 0);
      if (count <= 0) break;
      answer.append(buffer, static_cast<size_t>(count));
    }
    ::close(fd);
    return answer;
  }
  static std::string Post(const std::string& headers, const std::string& body) {
    return "POST / HTTP/1.1\r\nHost: x\r\n" + headers +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  FakeKms kms_;
  ApiServerOptions options_;
  std::string folder_;
  std::unique_ptr<ApiServer> server_;
};

TEST_F(ApiTest, CallsReachTheirServiceAndComeBack) {
  Start();
  ApiClient client(options_.socket_path);
  for (const auto& [service, operation] :
       {std::pair{"kms", "CreateKey"}, {"iam", "WhoAmI"}, {"audit", "VerifyLog"}}) {
    auto answer = client.Call(service, operation, {{"a", {1, 2}}});
    ASSERT_TRUE(answer.ok()) << answer.status().message();
    EXPECT_EQ((*answer)["service"], service);
    EXPECT_EQ((*answer)["operation"], operation);
    EXPECT_EQ((*answer)["request"], json({{"a", {1, 2}}}));
  }
}

TEST_F(ApiTest, CallerIsWhatTheKernelSays) {
  Start();
  ApiClient client(options_.socket_path);
  auto answer = client.Call("kms", "ListKeys", {{"uid", 4711}, {"is_service", true}});
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_EQ((*answer)["uid"], ::getuid());
  EXPECT_EQ((*answer)["gid"], ::getgid());
  EXPECT_EQ((*answer)["pid"], ::getpid());
  EXPECT_EQ((*answer)["source"], "local");
  EXPECT_EQ((*answer)["isService"], false);
}

TEST_F(ApiTest, AnotherUserIsSeenAsThatUser) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root to become another user";
  Start();
  const pid_t child = ::fork();
  if (child == 0) {
    const gid_t groups[] = {65530, 65531};
    if (::setgroups(2, groups) != 0 || ::setgid(65533) != 0 || ::setuid(65532) != 0)
      ::_exit(2);
    ApiClient client(options_.socket_path);
    auto answer = client.Call("kms", "ListKeys", json::object());
    ::_exit(answer.ok() && (*answer)["uid"] == 65532 && (*answer)["gid"] == 65533 &&
                    (*answer)["pid"] == ::getpid() &&
                    (*answer)["groups"] == json({65530, 65531})
                ? 0
                : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ApiTest, RefusalsKeepTheirErrorAndMessage) {
  Start();
  ApiClient client(options_.socket_path);
  auto answer = client.Call("kms", "DisableKey", json::object());
  EXPECT_EQ(answer.status().error(), Error::kAccessDenied);
  EXPECT_EQ(answer.status().message(), "not you");
  answer = client.Call("kms", "NoSuchOperation", json::object());
  EXPECT_EQ(answer.status().error(), Error::kInternal);
  EXPECT_NE(answer.status().message().find("UnknownOperationException"),
            std::string::npos);
}

TEST_F(ApiTest, ErrorsHaveTheShapeOfAwsKms) {
  Start();
  const std::string denied =
      Exchange(Post("X-Amz-Target: TrentService.DisableKey\r\n", "{}"));
  EXPECT_EQ(denied.find("HTTP/1.1 400"), 0u) << denied;
  EXPECT_NE(denied.find("Content-Type: application/x-amz-json-1.1"), std::string::npos);
  EXPECT_NE(denied.find("x-amzn-RequestId: "), std::string::npos);
  EXPECT_NE(denied.find(R"("__type":"AccessDeniedException")"), std::string::npos);
  const std::string broken =
      Exchange(Post("X-Amz-Target: TrentService.DescribeKey\r\n", "{}"));
  EXPECT_EQ(broken.find("HTTP/1.1 500"), 0u) << broken;
  EXPECT_NE(Exchange(Post("X-Amz-Target: TrentService.EnableKey\r\n", "{}"))
                .find(R"("__type":"KMSInternalException")"),
            std::string::npos);
  for (const char* target :
       {"", "X-Amz-Target: TrentService.Foo\r\n", "X-Amz-Target: S3.ListKeys\r\n",
        "X-Amz-Target: TrentService.WhoAmI\r\n"})
    EXPECT_NE(Exchange(Post(target, "{}")).find("UnknownOperationException"),
              std::string::npos)
        << target;
}

TEST_F(ApiTest, BodiesThatAreNoObjectAreRefused) {
  Start();
  const std::string target = "X-Amz-Target: TrentService.ListKeys\r\n";
  for (const std::string& body :
       {std::string("{"), std::string("[]"), std::string("7"),
        std::string("{\"a\":\"\xff\"}"),
        "{\"a\":" + std::string(50, '[') + std::string(50, ']') + "}"})
    EXPECT_NE(Exchange(Post(target, body)).find("SerializationException"),
              std::string::npos)
        << body;
  EXPECT_NE(Exchange(Post(target, "")).find("HTTP/1.1 200"), std::string::npos);
}

TEST_F(ApiTest, ABodyOfVeryManyValuesIsNotRead) {
  Start();
  const std::string target = "X-Amz-Target: TrentService.ListKeys\r\n";
  std::string body = "{\"a\":[0";
  const auto answer = [&](int more) {
    for (int i = 0; i < more; ++i) body += ",0";
    return Exchange(Post(target, body + "]}"));
  };
  EXPECT_EQ(answer(19'000).find("SerializationException"), std::string::npos);
  EXPECT_NE(answer(2'000).find("SerializationException"), std::string::npos);
  // In a string they are none.
  body = "{\"a\":\"" + std::string(30'000, ',') + "\"}";
  EXPECT_EQ(Exchange(Post(target, body)).find("SerializationException"),
            std::string::npos);
}

TEST_F(ApiTest, LimitsHold) {
  Start();
  const std::string target = "X-Amz-Target: TrentService.ListKeys\r\n";
  EXPECT_NE(Exchange("POST / HTTP/1.1\r\n" + target + "Content-Length: 1048577\r\n\r\n")
                .find("HTTP/1.1 413"),
            std::string::npos);
  EXPECT_NE(Exchange("POST / HTTP/1.1\r\n" + target +
                     "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
                .find("SerializationException"),
            std::string::npos);
  EXPECT_NE(Exchange(Post(target + "Content-Encoding: gzip\r\n", "{}"))
                .find("SerializationException"),
            std::string::npos);
  EXPECT_NE(Exchange("GET / HTTP/1.1\r\n\r\n").find("UnknownOperationException"),
            std::string::npos);
  EXPECT_NE(Exchange("POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n").find("404"),
            std::string::npos);
  // Forms and ranges mean something else.
  EXPECT_NE(Exchange(Post(target + "Content-Type: multipart/form-data; boundary=x\r\n",
                          "--x\r\n"))
                .find("SerializationException"),
            std::string::npos);
  const std::string ranged = Exchange(Post(target + "Range: bytes=-,-,0-9\r\n", "{}"));
  EXPECT_NE(ranged.find("HTTP/1.1 400"), std::string::npos) << ranged;
  EXPECT_LT(ranged.size(), 1000u);
  EXPECT_NE(Exchange("POST / HTTP/1.1\r\n" + target + "\r\n").find("HTTP/1.1 400"),
            std::string::npos);
  EXPECT_NE(Exchange("POST / HTTP/1.1\r\n" + target +
                     "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}")
                .find("HTTP/1.1 400"),
            std::string::npos);
  // Headers have at most 16 KiB.
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "a:b\r\n";
  EXPECT_EQ(Exchange(Post(target + many, "{}")).find("HTTP/1.1 200"),
            std::string::npos);
  // Nothing of that may end the server.
  Exchange(Post(target + "Range: bytes=" + std::string(8100, '1') + "\r\n", "{}"));
  Exchange(std::string(9000, 'A') + " / HTTP/1.1\r\n\r\n");
  Exchange("POST /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n");
  Exchange(std::string(100, '\0'));
  EXPECT_NE(Exchange(Post(target, "{}")).find("HTTP/1.1 200"), std::string::npos);
}

TEST_F(ApiTest, ConnectionServesSeveralRequests) {
  Start();
  const std::string one = Post("X-Amz-Target: TrentService.ListKeys\r\n", "{}");
  const std::string answer = Exchange(one + one + one);
  size_t count = 0;
  for (size_t at = 0; (at = answer.find("HTTP/1.1 200", at)) != std::string::npos; ++at)
    ++count;
  EXPECT_EQ(count, 3u);
}

TEST_F(ApiTest, SilentClientsBlockNeitherOthersNorTheEnd) {
  Start();
  std::vector<int> silent;
  for (int i = 0; i < 10; ++i) silent.push_back(Connect());
  const std::string half = "POST / HTTP/1.1\r\nContent-Le";
  for (int fd : silent)
    EXPECT_GT(::send(fd, half.data(), half.size(), MSG_NOSIGNAL), 0);
  ApiClient client(options_.socket_path);
  EXPECT_TRUE(client.Call("kms", "ListKeys", json::object()).ok());
  const auto begin = std::chrono::steady_clock::now();
  server_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  for (int fd : silent) ::close(fd);
}

TEST_F(ApiTest, ConnectionsOfOneUserAreBounded) {
  options_.max_connections_per_user = 2;
  Start();
  const int first = Connect(), second = Connect();
  std::string answer;
  for (int i = 0; i < 50 && answer.find("503") == std::string::npos; ++i)
    answer = Exchange(Post("X-Amz-Target: TrentService.ListKeys\r\n", "{}"));
  EXPECT_NE(answer.find("ThrottlingException"), std::string::npos) << answer;
  ::close(first);
  ::close(second);
  for (int i = 0; i < 50 && answer.find("200 OK") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    answer = Exchange(Post("X-Amz-Target: TrentService.ListKeys\r\n", "{}"));
  }
  EXPECT_NE(answer.find("200 OK"), std::string::npos) << answer;
}

TEST_F(ApiTest, StatusHasTheServersMembers) {
  Start();
  ApiClient client(options_.socket_path);
  auto answer = client.Call("store", "GetStatus", json::object());
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ((*answer)["mountpoint"], "/m");
  EXPECT_EQ((*answer)["service"], "store");
}

TEST_F(ApiTest, SocketIsForEveryoneAndGoesWithTheServer) {
  Start();
  struct stat st;
  ASSERT_EQ(::lstat(options_.socket_path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0666u);
  server_.reset();
  EXPECT_NE(::lstat(options_.socket_path.c_str(), &st), 0);
}

TEST_F(ApiTest, DeadSocketIsReplacedAndALivingOneIsNot) {
  {
    // A daemon that was killed leaves its socket.
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    options_.socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
  }
  Start();
  auto second = ApiServer::Start(kms_, options_);
  EXPECT_EQ(second.status().error(), Error::kLocked);
  ApiClient client(options_.socket_path);
  EXPECT_TRUE(client.Call("kms", "ListKeys", json::object()).ok());
}

TEST_F(ApiTest, TooLongASocketPathIsSaidSo) {
  auto socket = SocketFile::Listen(folder_ + "/" + std::string(120, 's'));
  EXPECT_EQ(socket.status().error(), Error::kUsage);
}

TEST_F(ApiTest, NoDaemonIsASystemError) {
  ApiClient client(options_.socket_path);
  EXPECT_EQ(client.Call("kms", "ListKeys", json::object()).status().error(),
            Error::kSystem);
}

TEST(ErrorNameTest, NamesAreUndone) {
  for (int i = 0; i <= static_cast<int>(kLastError); ++i) {
    const auto error = static_cast<Error>(i);
    EXPECT_EQ(ErrorFromName(ErrorName(error)), error);
  }
  EXPECT_EQ(ErrorFromName("Nonsense"), Error::kInternal);
}

}  // namespace
}  // namespace keyfold
