// Does a request reach the backend only with all that shows where it comes from, and
// only for what the pages need?
#include <gtest/gtest.h>

#include "fs/console/Console.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr uint16_t kPort = 4000;

class ConsoleTest : public testing::Test {
 protected:
  static ConsoleBackend Backend(int* opened) {
    ConsoleBackend backend;
    backend.call = [](auto service, auto operation, const json&) -> Result<json> {
      if (operation == "DescribeKey") return Status(Error::kNotFound, "no such key");
      return json{{"Called", std::string(service) + "." + std::string(operation)}};
    };
    backend.own["ListFolder"] = [](const json& request) -> Result<json> {
      return request;
    };
    backend.opened = [opened] { ++*opened; };
    return backend;
  }

  std::string Token() const {
    const std::string url = console.Url();
    return url.substr(url.find("#token=") + 7);
  }
  // "keyfold-1f…9.localhost:4000"
  std::string Host() const {
    const std::string url = console.Url();
    return url.substr(7, url.find("/#") - 7);
  }
  HttpRequest Post(const std::string& target, const json& body) const {
    return {"POST",
            target,
            {{"content-type", kContentType},
             {"host", Host()},
             {"origin", "http://" + Host()}},
            body.dump()};
  }
  static void Set(HttpRequest& request, const std::string& name,
                  const std::string& value) {
    std::erase_if(request.headers, [&](const auto& one) { return one.first == name; });
    request.headers.emplace_back(name, value);
  }
  // The cookie of the answer to the token.
  std::string SignIn() {
    const Reply reply = console.Serve(Post("/session", {{"Token", Token()}}));
    EXPECT_EQ(reply.http_status, 200);
    const size_t at = reply.headers.find("keyfold=");
    return reply.headers.substr(at, reply.headers.find(';', at) - at);
  }
  HttpRequest Call(const std::string& operation, const std::string& cookie) {
    HttpRequest request = Post("/api", json::object());
    Set(request, "x-amz-target", operation);
    Set(request, "cookie", cookie);
    return request;
  }

  int opened = 0;
  Console console{kPort, Backend(&opened)};
};

TEST_F(ConsoleTest, TheTokenStandsBehindTheHash) {
  EXPECT_EQ(console.Url(), "http://" + Host() + "/#token=" + Token());
  EXPECT_EQ(Token().size(), 43u);
}

// Else what another server left in the browser for this port would be of its origin.
TEST_F(ConsoleTest, TheHostIsAnotherEachTime) {
  EXPECT_TRUE(Host().ends_with(".localhost:4000"));
  EXPECT_EQ(Host().find(".localhost"), sizeof "keyfold-" - 1 + 24);
  int more = 0;
  EXPECT_NE(Console(kPort, Backend(&more)).Url().substr(0, 32),
            console.Url().substr(0, 32));
}

TEST_F(ConsoleTest, APageThatIsLoadedAgainGetsTheKeyOfProofsAgain) {
  HttpRequest again = Post("/session", {{"Token", ""}});
  EXPECT_EQ(console.Serve(again).http_status, 401);
  Set(again, "cookie", SignIn());
  const Reply reply = console.Serve(again);
  EXPECT_EQ(reply.http_status, 200);
  EXPECT_EQ(reply.headers.find("Set-Cookie"), std::string::npos);
  EXPECT_EQ(FromBase64(json::parse(reply.body)["ProofKey"].get<std::string>())->size(),
            32u);
}

TEST_F(ConsoleTest, AnAnswerIsProvenForItsRequest) {
  HttpRequest request = Call("TrentService.DescribeKey", SignIn());
  EXPECT_EQ(console.Serve(request).headers.find("Keyfold-Proof"), std::string::npos);
  HttpRequest again = Post("/session", {{"Token", ""}});
  Set(again, "cookie", *request.Header("cookie"));
  auto key =
      FromBase64(json::parse(console.Serve(again).body)["ProofKey"].get<std::string>());
  Set(request, "keyfold-nonce", "one");
  const Reply reply = console.Serve(request);
  const auto mac = HmacSha256(SecretFrom(*key), AsBytes("one\n400\n" + reply.body));
  EXPECT_NE(reply.headers.find("Keyfold-Proof: " + ToBase64(mac) + "\r\n"),
            std::string::npos);
}

TEST_F(ConsoleTest, WhoSignedInReachesTheBackend) {
  const std::string cookie = SignIn();
  EXPECT_EQ(opened, 1);
  const Reply reply = console.Serve(Call("TrentService.ListKeys", "a=b; " + cookie));
  EXPECT_EQ(reply.http_status, 200);
  EXPECT_EQ(json::parse(reply.body)["Called"], "kms.ListKeys");
  EXPECT_EQ(console.Serve(Call("KeyfoldConsole.ListFolder", cookie)).http_status, 200);
}

TEST_F(ConsoleTest, ARefusalIsTheServicesOwn) {
  const Reply reply = console.Serve(Call("TrentService.DescribeKey", SignIn()));
  EXPECT_EQ(reply.http_status, 400);
  EXPECT_EQ(json::parse(reply.body)["__type"], "NotFoundException");
}

TEST_F(ConsoleTest, NothingReachesItWithoutTheCookie) {
  const std::string cookie = SignIn();
  for (const std::string& other :
       {std::string(), std::string("keyfold="), cookie + "x",
        "keyfold-4000" + cookie.substr(cookie.find('=')), "x" + cookie})
    EXPECT_EQ(console.Serve(Call("TrentService.ListKeys", other)).http_status, 401)
        << other;
}

TEST_F(ConsoleTest, NothingReachesItFromAnotherPage) {
  const std::string cookie = SignIn();
  const std::pair<const char*, const char*> others[] = {
      {"host", "localhost:4000"},
      {"host", "127.0.0.1:4000"},
      {"origin", "https://127.0.0.1:4000"},
      {"origin", "http://127.0.0.1:4000"},
      {"origin", "null"},
      {"content-type", "text/plain"},
      {"content-type", "application/json"}};
  for (const auto& [name, value] : others) {
    HttpRequest request = Call("TrentService.ListKeys", cookie);
    Set(request, name, value);
    EXPECT_EQ(console.Serve(request).http_status, 403) << name << " " << value;
  }
}

TEST_F(ConsoleTest, NoPageMayAskForWhatHandsOutSecretsOrRights) {
  const std::string cookie = SignIn();
  for (const char* operation :
       {"TrentService.Decrypt", "TrentService.Encrypt", "TrentService.GenerateDataKey",
        "TrentService.GenerateRandom", "TrentService.ReEncrypt", "KeyfoldIam.ApplyIam",
        "KeyfoldIam.CreateAccessKey", "KeyfoldIam.AssumeRole",
        "KeyfoldAudit.ApplyAlertRules", "KeyfoldAudit.ReleaseLog",
        "KeyfoldStore.BackupKeyStore", "KeyfoldStore.RotateRootKey",
        "KeyfoldConsole.SetKey", "TrentService.", "", "."})
    EXPECT_EQ(json::parse(console.Serve(Call(operation, cookie)).body)["__type"],
              "UnknownOperationException")
        << operation;
}

TEST_F(ConsoleTest, BodiesThatAreNoObjectsAreRefused) {
  const std::string cookie = SignIn();
  for (const char* body : {"[]", "1", "{", "{\"a\":\"\\u0000\"", "nonsense"}) {
    HttpRequest request = Call("TrentService.ListKeys", cookie);
    request.body = body;
    EXPECT_EQ(console.Serve(request).http_status, 400) << body;
  }
  for (const json& body :
       {json::object(), json{{"Token", 1}}, json{{"Token", nullptr}}})
    EXPECT_EQ(console.Serve(Post("/session", body)).http_status, 400) << body;
}

TEST_F(ConsoleTest, FilesOfThePagesAreFoundByTheirExactPath) {
  for (const char* path : {"/", "/console.js", "/console.css", "/icon.svg"}) {
    const Reply reply = console.Serve({"GET", path, {{"host", Host()}}, ""});
    EXPECT_EQ(reply.http_status, 200) << path;
    EXPECT_FALSE(reply.body.empty());
    EXPECT_NE(reply.headers.find("default-src 'none'"), std::string::npos);
  }
  for (const char* path : {"", "/console.js/", "/./console.js", "/Console.js", "/api"})
    EXPECT_EQ(console.Serve({"GET", path, {{"host", Host()}}, ""}).http_status, 404);
  EXPECT_EQ(console.Serve({"GET", "/", {{"host", "evil"}}, ""}).http_status, 403);
  EXPECT_EQ(console.Serve({"GET", "/", {}, ""}).http_status, 403);
}

}  // namespace
}  // namespace keyfold
