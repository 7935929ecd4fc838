// How fast is the KMS: a decision, a call in the process, a call through the socket?
//
// On a real key store and audit log in a temporary folder of TMPDIR (else /var/tmp).
// The clients of the socket are as plain as can be, since they share the machine.
#include <benchmark/benchmark.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "kms/api/ApiServer.h"
#include "kms/crypto/Crypto.h"
#include "kms/service/GrantIndex.h"
#include "kms/service/Kms.h"
#include "policy/engine/Engine.h"
#include "policy/parse/Parse.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr char kAccountId[] = "000000000000";

[[noreturn]] void Stop(const std::string& why) {
  fprintf(stderr, "KmsBench: %s\n", why.c_str());
  exit(1);
}

// Office is a Kms with a key that this user administers and uses.
class Office {
 public:
  Office() {
    const char* place = getenv("TMPDIR");
    folder_ =
        std::string(place != nullptr ? place : "/var/tmp") + "/keyfold-bench-XXXXXX";
    if (mkdtemp(folder_.data()) == nullptr) Stop("no temporary folder");
    Account account;
    account.store_id = RandomUuid();
    account.root_uid = getuid();
    auto store = CreateSqliteKeyStore(folder_ + "/keys.db");
    if (!store.ok()) Stop(store.status().ToString());
    RootKey root(RandomSecret(kKeySize));
    if (!Kms::Create(**store, root, account, Clock::System()).ok()) Stop("no store");
    auto kms =
        Kms::Open(std::move(store).value(), std::move(root), folder_, Clock::System());
    if (!kms.ok()) Stop(kms.status().ToString());
    kms_ = std::move(kms).value();
    const json me = Must("iam", "WhoAmI", json::object())["Arn"];
    const json policy = {
        {"Statement",
         {{{"Effect", "Allow"}, {"Principal", "account"}, {"Action", "kms:*"}},
          {{"Effect", "Allow"}, {"Principal", me}, {"Action", "kms:*"}}}}};
    key_ =
        Must("kms", "CreateKey", {{"Policy", policy.dump()}})["KeyMetadata"]["KeyId"];
    blob_ =
        Must("kms", "Encrypt",
             {{"KeyId", key_},
              {"Plaintext", ToBase64(Bytes(32, 7))},
              {"EncryptionContext", {{"department", "finance"}}}})["CiphertextBlob"];
  }
  ~Office() {
    kms_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Office(const Office&) = delete;
  Office& operator=(const Office&) = delete;

  Result<json> Call(std::string_view service, std::string_view operation,
                    const json& request) {
    Caller caller;
    caller.uid = getuid();
    caller.gid = getgid();
    caller.pid = getpid();
    caller.groups = std::vector<gid_t>{};
    return kms_->Call(caller, service, operation, request);
  }
  json Must(std::string_view service, std::string_view operation, const json& request) {
    auto answer = Call(service, operation, request);
    if (!answer.ok()) Stop(answer.status().ToString());
    return *answer;
  }
  json DecryptRequest() const {
    return {{"CiphertextBlob", blob_},
            {"EncryptionContext", {{"department", "finance"}}}};
  }
  Kms& kms() { return *kms_; }
  const std::string& folder() const { return folder_; }
  const std::string& key() const { return key_; }

 private:
  std::string folder_, key_, blob_;
  std::unique_ptr<Kms> kms_;
};

// What several threads use; made and closed by main.
std::unique_ptr<Office> shared_office;

double Mebibytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// A decision by the last thing that is looked at, a grant, where there are 1,000 keys
// with 10 grants each, or one with 10,000.
void Decide(benchmark::State& state) {
  const policy::IamIndex iam(
      *policy::ParseIam("users: {cfo: {groups: [finance]}}\n"
                        "groups: {finance: {policies: [FilesFullAccess, "
                        "ConsoleReadOnlyAccess]}}\n",
                        "bench", kAccountId),
      kAccountId);
  const policy::Document document = *policy::ParsePolicy(
      "Statement:\n- {Effect: Allow, Principal: account, Action: \"kms:*\"}\n"
      "- {Effect: Allow, Principal: \"user:owner\", Action: [\"kms:Create*\", "
      "\"kms:Describe*\", \"kms:Enable*\", \"kms:List*\", \"kms:Put*\"]}\n",
      "bench", kAccountId);
  const auto keys = static_cast<size_t>(state.range(0));
  std::vector<GrantIndex> grants;
  for (size_t key = 0; key < keys; ++key) {
    std::vector<GrantRef> list;
    for (size_t i = 0; i < 10000 / keys; ++i) {
      GrantRecord record;
      record.grant.id = std::to_string(i);
      record.grant.grantee =
          policy::UserArn(kAccountId, i == 5 ? "cfo" : "user" + std::to_string(i));
      record.grant.operations = {"Decrypt", "GenerateDataKey"};
      list.push_back(std::make_shared<const GrantRecord>(std::move(record)));
    }
    grants.emplace_back(std::move(list));
  }
  const policy::Principal cfo = iam.User("cfo", {});
  const policy::Request request{
      "kms:Decrypt",
      "arn:aws:kms:local-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab",
      {{"kms:CallerAccount", {kAccountId}},
       {"aws:CurrentTime", {"2026-01-31T12:00:00Z"}},
       {"kms:KeyOrigin", {"AWS_KMS"}},
       {"kms:EncryptionContextKeys", {"department"}},
       {"kms:EncryptionContext:department", {"finance"}}}};
  size_t key = 0;
  for (auto _ : state) {
    const auto decision = policy::DecideOnKey(iam, cfo, request, document,
                                              grants[key++ % keys].HeldBy(cfo));
    if (!decision.allowed()) Stop("refused");
    benchmark::DoNotOptimize(decision);
  }
}
BENCHMARK(Decide)->Arg(1000)->Arg(1);

void Decrypt(benchmark::State& state) {
  Office& office = *shared_office;
  const json request = office.DecryptRequest();
  for (auto _ : state) {
    const auto answer = office.Call("kms", "Decrypt", request);
    if (!answer.ok()) Stop(answer.status().ToString());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Decrypt)->Threads(1)->Threads(2)->UseRealTime();

// Connection sends one request again and again.
class Connection {
 public:
  Connection(const std::string& path, const json& request) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      Stop("cannot connect to " + path);
    const std::string body = request.dump();
    request_ =
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: TrentService.Decrypt\r\n"
        "Content-Type: application/x-amz-json-1.1\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  ~Connection() { ::close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool Call() {
    if (::send(fd_, request_.data(), request_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request_.size()))
      return false;
    std::string answer;
    char buffer[4096];
    for (;;) {
      const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got <= 0) return false;
      answer.append(buffer, static_cast<size_t>(got));
      const size_t end = answer.find("\r\n\r\n");
      const size_t length = answer.find("Content-Length: ");
      if (end == std::string::npos || length > end) continue;
      if (answer.size() >= end + 4 + strtoul(answer.c_str() + length + 16, nullptr, 10))
        return answer.starts_with("HTTP/1.1 200");
    }
  }

 private:
  int fd_ = -1;
  std::string request_;
};

// In sum over the clients. A connection ends after 10,000 calls and is made again.
void DecryptThroughSocket(benchmark::State& state) {
  static std::unique_ptr<ApiServer> server;
  Office& office = *shared_office;
  const std::string path = office.folder() + "/sock";
  if (state.thread_index() == 0) {
    ApiServerOptions options;
    options.socket_path = path;
    auto started = ApiServer::Start(office.kms(), std::move(options));
    if (!started.ok()) Stop(started.status().ToString());
    server = std::move(started).value();
  }
  std::unique_ptr<Connection> connection;
  const json request = office.DecryptRequest();
  for (auto _ : state) {
    if (connection && connection->Call()) continue;
    connection = std::make_unique<Connection>(path, request);
    if (!connection->Call()) Stop("no answer");
  }
  state.SetItemsProcessed(state.iterations());
  connection.reset();
  if (state.thread_index() == 0) {
    state.counters["MiB"] = Mebibytes();
    server.reset();
  }
}
BENCHMARK(DecryptThroughSocket)
    ->Threads(1)
    ->Threads(2)
    ->Threads(4)
    ->Threads(8)
    ->UseRealTime();

// One key with `range` grants to others: a decision about it, making one more and
// taking it away.
void CreateGrant(benchmark::State& state) {
  Office office;
  const auto grant = [&](const std::string& who) {
    return office.Must("kms", "CreateGrant",
                       {{"KeyId", office.key()},
                        {"GranteePrincipal", "user:" + who},
                        {"Operations", {"Decrypt"}}});
  };
  for (int64_t i = 0; i < state.range(0); ++i) grant("user" + std::to_string(i));
  for (auto _ : state) {
    const json made = grant("another");
    office.Must("kms", "RevokeGrant",
                {{"KeyId", office.key()}, {"GrantId", made["GrantId"]}});
  }
}
BENCHMARK(CreateGrant)
    ->Arg(10)
    ->Arg(10000)
    ->Unit(benchmark::kMicrosecond)
    ->Iterations(50);

void DecryptUnderManyGrants(benchmark::State& state) {
  Office office;
  for (int64_t i = 0; i < state.range(0); ++i)
    office.Must("kms", "CreateGrant",
                {{"KeyId", office.key()},
                 {"GranteePrincipal", "user:user" + std::to_string(i)},
                 {"Operations", {"Decrypt"}}});
  const json request = office.DecryptRequest();
  for (auto _ : state) office.Must("kms", "Decrypt", request);
  state.counters["MiB"] = Mebibytes();
}
BENCHMARK(DecryptUnderManyGrants)
    ->Arg(10)
    ->Arg(10000)
    ->Iterations(2000)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace keyfold

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  keyfold::shared_office = std::make_unique<keyfold::Office>();
  benchmark::RunSpecifiedBenchmarks();
  keyfold::shared_office.reset();
  return 0;
}
