// Signatures: no request but the one that was signed passes, whatever its headers say;
// and none passes whose access key is not known.
//
// An input is a request: "METHOD TARGET", lines "name: value", an empty line, the body.
#include <algorithm>

#include "kms/api/Endpoint.h"
#include "kms/api/SignatureV4.h"
#include "tests/fuzz/FuzzKms.h"

using namespace keyfold;

namespace {

// Of AWS's Signature Version 4 test suite.
SecretBytes ExampleSecret() {
  constexpr std::string_view kText = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
  Bytes text(kText.begin(), kText.end());
  return SecretFrom(text);
}

HttpRequest Parse(std::string_view text) {
  HttpRequest request;
  const std::string_view first = TakeLine(text);
  const size_t space = std::min(first.find(' '), first.size());
  request.method = first.substr(0, space);
  request.target = first.substr(std::min(space + 1, first.size()));
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    if (line.empty()) break;
    const size_t colon = std::min(line.find(':'), line.size());
    std::string name(line.substr(0, colon));
    for (char& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    request.headers.emplace_back(name, line.substr(std::min(colon + 1, line.size())));
  }
  std::stable_sort(request.headers.begin(), request.headers.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  request.body = text;
  return request;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FuzzKms& fuzz = *new FuzzKms();
  static Endpoint& endpoint =
      *new Endpoint(fuzz.kms(), fuzz.clock(), [] { return nlohmann::json::object(); });
  const HttpRequest request =
      Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  const auto authorization = ParseAuthorization(request);
  if (authorization.ok()) {
    (void)CheckScope(*authorization, "local-1", "kms", fuzz.clock().Now());
    const Status checked = CheckSignature(*authorization, request, ExampleSecret());
    Promise(!checked.ok() ||
                (request.method == "POST" && request.target == "/" &&
                 request.body.empty() && authorization->amz_date == "20150830T123600Z"),
            "only what was signed passes");
  }
  Caller peer;
  peer.uid = FuzzKms::kCfo;
  peer.source = "127.0.0.1";
  const Reply reply = endpoint.ServeSigned(peer, request);
  Promise(reply.http_status != 200, "nobody passes without a known key");
  Promise(nlohmann::json::parse(reply.body, nullptr, false).is_object(),
          "an answer is JSON");
  return 0;
}
