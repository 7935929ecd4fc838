// Requests: whatever a client sends, the daemon answers with JSON, records it, and
// goes on.
//
// An input is lines: who calls ("60001"), the target header, and the body, in which
// @BLOB stands for a ciphertext of alias/a and @TOKEN for an import token of alias/e.
#include <optional>

#include "kms/api/Protocol.h"
#include "tests/fuzz/FuzzKms.h"

using namespace keyfold;
using nlohmann::json;

namespace {

constexpr int kCallsPerKms = 1500;  // what calls make adds up
constexpr int kRsaKeysPerKms = 5;   // slow to make

struct Served {
  FuzzKms fuzz;
  std::string blob, token;
  int calls = 0, rsa_keys = 0;

  Served() {
    blob = fuzz.Must(FuzzKms::kCfo, "kms", "Encrypt",
                     {{"KeyId", "alias/a"}, {"Plaintext", "AAAA"}})["CiphertextBlob"]
               .get<std::string>();
    token = fuzz.Must(FuzzKms::kCfo, "kms", "GetParametersForImport",
                      {{"KeyId", "alias/e"},
                       {"WrappingAlgorithm", "RSAES_OAEP_SHA_256"},
                       {"WrappingKeySpec", "RSA_2048"}})["ImportToken"]
                .get<std::string>();
  }
  ~Served() {
    const auto verified =
        fuzz.Call(FuzzKms::kAdministrator, "audit", "VerifyLog", json::object());
    // The administrator may have lost the right by what was called.
    Promise(verified.ok() || verified.status().error() == Error::kAccessDenied,
            "the audit log verifies");
  }
};

std::string Filled(std::string body, const std::string& mark, const std::string& with) {
  for (size_t at = 0; (at = body.find(mark, at)) != std::string::npos;
       at += with.size())
    body.replace(at, mark.size(), with);
  return body;
}

void Check(const Reply& reply) {
  Promise(json::parse(reply.body, nullptr, false).is_object(), "an answer is JSON");
  (void)ParseReply(reply.http_status, reply.body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto& served = *new std::optional<Served>();
  if (!served || served->calls > kCallsPerKms) served.emplace();
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string caller(TakeLine(rest).substr(0, 10));
  const auto uid = static_cast<uid_t>(strtoul(caller.c_str(), nullptr, 10));
  const std::string header(TakeLine(rest));
  std::string body = Filled(std::string(rest), "@BLOB", served->blob);
  body = Filled(std::move(body), "@TOKEN", served->token);

  ++served->calls;
  const auto target = ParseTarget(header);
  const auto request = ParseRequest(body);
  if (!target || !request) return 0;
  if (target->operation == "GetParametersForImport" &&
      ++served->rsa_keys > kRsaKeysPerKms)
    return 0;
  const auto answer =
      served->fuzz.Call(uid, target->service, target->operation, *request);
  Check(answer.ok() ? SuccessReply(*answer) : ErrorReply(answer.status()));
  if (served->calls % 64 == 0) {
    served->fuzz.clock().Advance(std::chrono::hours(12));
    Promise(served->fuzz.kms().Tick().ok(), "time goes on");
  }
  return 0;
}
