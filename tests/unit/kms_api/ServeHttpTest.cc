// Is a request read as it was sent, however it arrives, and nothing taken for one that
// is none?
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "kms/api/ServeHttp.h"

namespace keyfold {
namespace {

// Answer is all that comes back for `pieces`, sent one after the other.
std::string Answer(const HttpHandler& handler, const std::vector<std::string>& pieces,
                   HttpKind kind = HttpKind::kCalls) {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  std::thread server([&] {
    ServeHttp(ends[1], handler, nullptr, kind);
    ::close(ends[1]);
  });
  for (const std::string& piece : pieces) {
    EXPECT_EQ(::send(ends[0], piece.data(), piece.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(piece.size()));
    if (pieces.size() < 20) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ::shutdown(ends[0], SHUT_WR);
  std::string answer;
  char buffer[4096];
  for (ssize_t got; (got = ::recv(ends[0], buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(got));
  ::close(ends[0]);
  server.join();
  return answer;
}

// Mirror answers what it was asked.
Reply Mirror(const HttpRequest& request) {
  Reply reply;
  for (const auto& [name, value] : request.headers)
    reply.body += name + "=" + value + ";";
  reply.body += request.body;
  return reply;
}

size_t Count(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++count;
  return count;
}

const std::string kPost =
    "POST / HTTP/1.1\r\nX-B: 2\r\nHost: h\r\nX-A:  a%41 a \r\nx-b: 1\r\n"
    "Content-Length: 4\r\n\r\nbody";
const std::string kMirrored = "content-length=4;host=h;x-a=a%41 a;x-b=2;x-b=1;body";

TEST(ServeHttpTest, ARequestIsReadHoweverItArrives) {
  EXPECT_TRUE(Answer(Mirror, {kPost}).ends_with("\r\n\r\n" + kMirrored));
  std::vector<std::string> bytes;
  for (char c : kPost) bytes.emplace_back(1, c);
  EXPECT_TRUE(Answer(Mirror, bytes).ends_with("\r\n\r\n" + kMirrored));
  for (size_t cut = 1; cut < kPost.size(); cut += 7) {
    // The second comes with the first's end.
    const std::string answer =
        Answer(Mirror, {kPost.substr(0, cut), kPost.substr(cut) + kPost});
    EXPECT_EQ(Count(answer, kMirrored), 2u) << cut;
  }
}

TEST(ServeHttpTest, ABodyMayBeLong) {
  const std::string body(1 << 20, 'x');
  const std::string answer = Answer(
      [](const HttpRequest& request) {
        return Reply{200, std::to_string(request.body.size())};
      },
      {"POST / HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n" + body});
  EXPECT_TRUE(answer.ends_with("\r\n\r\n1048576")) << answer;
}

TEST(ServeHttpTest, WhoAsksWhetherToGoOnIsTold) {
  const std::string answer = Answer(
      Mirror,
      {"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", "{}"});
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"))
      << answer;
}

TEST(ServeHttpTest, AConnectionEndsWhereTheClientWantsIt) {
  const std::string closing =
      "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  const std::string old = "POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n";
  for (const std::string& request : {closing, old}) {
    const std::string answer = Answer(Mirror, {request + kPost});
    EXPECT_EQ(Count(answer, "HTTP/1.1 200"), 1u) << answer;
    EXPECT_EQ(Count(answer, "Connection: close"), 1u) << answer;
  }
  EXPECT_EQ(Count(Answer(Mirror, {kPost + kPost}), "Connection: close"), 0u);
}

TEST(ServeHttpTest, NothingIsReadBehindWhatWasRefused) {
  for (const char* start :
       {"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length : 4\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 4\r\n\r\n",
        "POST / HTTP/1.1\nContent-Length: 4\n\n",
        "POST / HTTP/2.0\r\nContent-Length: 4\r\n\r\n", "\r\n\r\nnonsense\r\n\r\n"}) {
    bool called = false;
    const std::string answer = Answer(
        [&](const HttpRequest&) {
          called = true;
          return Reply{};
        },
        {start + kPost});
    EXPECT_FALSE(called) << start;
    EXPECT_EQ(Count(answer, "HTTP/1.1 4"), 1u) << start << answer;
  }
}

TEST(ServeHttpTest, PagesAreAskedForByAnyPathAndHaveNoBody) {
  const auto name = [](const HttpRequest& request) {
    Reply reply{200, request.method + " " + request.target};
    reply.content_type = "text/html";
    reply.headers = "X-Of-The-Page: 1\r\n";
    return reply;
  };
  const std::string answer = Answer(
      name, {"GET /a?b HTTP/1.1\r\n\r\nPOST /c HTTP/1.1\r\nContent-Length: 0\r\n\r\n"},
      HttpKind::kPages);
  EXPECT_EQ(Count(answer, "\r\n\r\nGET /a?b"), 1u) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nPOST /c")) << answer;
  EXPECT_EQ(Count(answer, "Content-Type: text/html\r\n"), 2u) << answer;
  EXPECT_EQ(Count(answer, "\r\nX-Of-The-Page: 1\r\n"), 2u) << answer;
  for (const char* refused : {"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                              "PUT / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\n\r\n"})
    EXPECT_EQ(Count(Answer(name, {refused}, HttpKind::kPages), "HTTP/1.1 4"), 1u)
        << refused;
}

TEST(ServeHttpTest, AnAnswerThatFailsIsToldAndTheNextRequestIsServed) {
  int calls = 0;
  const std::string answer = Answer(
      [&](const HttpRequest& request) {
        if (++calls == 1) throw std::runtime_error("why");
        return Mirror(request);
      },
      {kPost + kPost});
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n")) << answer;
  EXPECT_EQ(answer.find("why"), std::string::npos);
  EXPECT_TRUE(answer.ends_with(kMirrored)) << answer;
}

}  // namespace
}  // namespace keyfold
