// Does a request reach the backend only with all that shows where it comes from, and
// only for what the pages need?
#include <gtest/gtest.h>

#include "fs/console/Console.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kAddress[] = "127.0.0.1:4000";

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
  static HttpRequest Post(const std::string& target, const json& body) {
    return {"POST",
            target,
            {{"content-type", kContentType},
             {"host", kAddress},
             {"origin", std::string("http://") + kAddress}},
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
    const size_t at = reply.headers.find("keyfold-4000=");
    return reply.headers.substr(at, reply.headers.find(';', at) - at);
  }
  HttpRequest Call(const std::string& operation, const std::string& cookie) {
    HttpRequest request = Post("/api", json::object());
    Set(request, "x-amz-target", operation);
    Set(request, "cookie", cookie);
    return request;
  }

  int opened = 0;
  Console console{kAddress, Backend(&opened)};
};

TEST_F(ConsoleTest, TheTokenStandsBehindTheHash) {
  EXPECT_EQ(console.Url(), "http://127.0.0.1:4000/#token=" + Token());
  EXPECT_EQ(Token().size(), 43u);
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
       {std::string(), std::string("keyfold-4000="), cookie + "x",
        "keyfold-4001" + cookie.substr(cookie.find('=')), "x" + cookie})
    EXPECT_EQ(console.Serve(Call("TrentService.ListKeys", other)).http_status, 401)
        << other;
}

TEST_F(ConsoleTest, NothingReachesItFromAnotherPage) {
  const std::string cookie = SignIn();
  const std::pair<const char*, const char*> others[] = {
      {"host", "localhost:4000"},
      {"host", "127.0.0.1"},
      {"origin", "https://127.0.0.1:4000"},
      {"origin", "http://127.0.0.1:4001"},
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
    const Reply reply = console.Serve({"GET", path, {{"host", kAddress}}, ""});
    EXPECT_EQ(reply.http_status, 200) << path;
    EXPECT_FALSE(reply.body.empty());
    EXPECT_NE(reply.headers.find("default-src 'none'"), std::string::npos);
  }
  for (const char* path : {"", "/console.js/", "/./console.js", "/Console.js", "/api"})
    EXPECT_EQ(console.Serve({"GET", path, {{"host", kAddress}}, ""}).http_status, 404);
  EXPECT_EQ(console.Serve({"GET", "/", {{"host", "evil"}}, ""}).http_status, 403);
  EXPECT_EQ(console.Serve({"GET", "/", {}, ""}).http_status, 403);
}

}  // namespace
}  // namespace keyfold
