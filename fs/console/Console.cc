#include "fs/console/Console.h"

#include <algorithm>
#include <array>

#include "fs/console/Assets.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

// Nothing is loaded but from here, no page may show this one in a frame, and text can't
// become script: the pages make elements, never markup.
constexpr char kConfinement[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types "
    "'none'\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), geolocation=(), microphone=()\r\n";

constexpr char kCookie[] = "keyfold";
constexpr size_t kHostBytes = 12;
constexpr std::string_view kOwnPrefix = "KeyfoldConsole.";

// The operations that the pages ask for. Those which show secrets, hand out
// credentials, run programs or concern the store as a whole are none of them, so that
// nobody gets at them through a browser.
constexpr std::array<std::string_view, 33> kOffered = {
    "kms.CreateAlias",
    "kms.CreateGrant",
    "kms.CreateKey",
    "kms.CancelKeyDeletion",
    "kms.DeleteAlias",
    "kms.DeleteImportedKeyMaterial",
    "kms.DescribeKey",
    "kms.DisableKey",
    "kms.DisableKeyRotation",
    "kms.EnableKey",
    "kms.EnableKeyRotation",
    "kms.GetKeyPolicy",
    "kms.GetKeyRotationStatus",
    "kms.GetParametersForImport",
    "kms.ImportKeyMaterial",
    "kms.ListAliases",
    "kms.ListGrants",
    "kms.ListKeyRotations",
    "kms.ListKeys",
    "kms.ListResourceTags",
    "kms.PutKeyPolicy",
    "kms.RevokeGrant",
    "kms.RotateKeyOnDemand",
    "kms.ScheduleKeyDeletion",
    "kms.TagResource",
    "kms.UntagResource",
    "kms.UpdateKeyDescription",
    "iam.Simulate",
    "iam.WhoAmI",
    "audit.DescribeCompliance",
    "audit.GetAlertRules",
    "audit.LookupEvents",
    "store.GetStatus",
};

bool IsOffered(const Target& target) {
  const std::string name = target.service + "." + target.operation;
  return std::find(kOffered.begin(), kOffered.end(), name) != kOffered.end();
}

Reply Forbidden(std::string_view what) {
  return ErrorReply("AccessDeniedException", what, 403);
}

// Browsers leave out the port that http has anyway.
std::string PortSuffix(uint16_t port) {
  return port == 80 ? "" : ":" + std::to_string(port);
}

Reply NotLetIn() {
  return ErrorReply("UnrecognizedClientException",
                    "Open the address that the console printed. It counts once: for "
                    "another browser start the console again.",
                    401);
}

// CookieNamed is the value of a cookie; empty when there is none.
std::string_view CookieNamed(std::string_view header, std::string_view name) {
  while (!header.empty()) {
    const size_t end = std::min(header.find(';'), header.size());
    std::string_view one = header.substr(0, end);
    header.remove_prefix(std::min(end + 1, header.size()));
    while (one.starts_with(' ')) one.remove_prefix(1);
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=')
      return one.substr(name.size() + 1);
  }
  return {};
}

}  // namespace

Console::Console(uint16_t port, ConsoleBackend backend, const Clock& clock)
    // RFC 6761: browsers take what ends in "localhost" for this machine.
    : host_("keyfold-" + ToHex(RevealSecret(RandomSecret(kHostBytes))) + ".localhost" +
            PortSuffix(port)),
      backend_(std::move(backend)),
      session_(clock) {
  Touch();
}

std::string Console::Url() const {
  return "http://" + host_ + "/#token=" + session_.token();
}

void Console::Touch() { last_use_ = steady_clock::now().time_since_epoch().count(); }

steady_clock::duration Console::IdleFor() const {
  return steady_clock::now().time_since_epoch() - steady_clock::duration(last_use_);
}

Reply Console::Serve(const HttpRequest& request) {
  Reply reply = RouteSafely(request);
  reply.headers += kConfinement;
  Prove(request, &reply);
  return reply;
}

Reply Console::RouteSafely(const HttpRequest& request) {
  try {
    return Route(request);
  } catch (const std::exception&) {
    return ErrorReply("KMSInternalException", "The request failed.", 500);
  }
}

Reply Console::Route(const HttpRequest& request) {
  // A page of another site whose name was made to lead here has its name as the host.
  const std::string* host = request.Header("host");
  if (host == nullptr || *host != host_)
    return Forbidden("This is not the console's address.");
  if (request.method == "GET") {
    const Asset* asset = FindAsset(request.target);
    if (asset == nullptr)
      return ErrorReply("NotFoundException", "There is no such page.", 404);
    Reply reply{200, std::string(asset->bytes)};
    reply.content_type = asset->content_type;
    return reply;
  }
  if (auto refused = Refusal(request)) return *refused;
  if (request.target == "/session") return BeginSession(request);
  if (request.target != "/api")
    return ErrorReply("NotFoundException", "There is no such page.", 404);
  if (!HasSession(request)) return NotLetIn();
  Touch();
  return CallOperation(request);
}

void Console::Prove(const HttpRequest& request, Reply* reply) const {
  const std::string* nonce = request.Header("keyfold-nonce");
  if (nonce == nullptr) return;
  reply->headers +=
      "Keyfold-Proof: " +
      session_.ProofOf(*nonce + "\n" + std::to_string(reply->http_status) + "\n" +
                       reply->body) +
      "\r\n";
}

std::optional<Reply> Console::Refusal(const HttpRequest& request) const {
  const std::string* origin = request.Header("origin");
  if (origin == nullptr || *origin != "http://" + host_)
    return Forbidden("The request comes from another page.");
  // Pages of others can't send this type without asking first.
  const std::string* type = request.Header("content-type");
  if (type == nullptr || *type != kContentType)
    return Forbidden("The request comes from no page of the console.");
  return std::nullopt;
}

bool Console::HasSession(const HttpRequest& request) const {
  const std::string* cookies = request.Header("cookie");
  return cookies != nullptr && session_.Holds(CookieNamed(*cookies, kCookie));
}

Reply Console::Welcome() const {
  return SuccessReply({{"ProofKey", session_.ProofKey()}});
}

Reply Console::BeginSession(const HttpRequest& request) {
  const auto body = ParseRequest(request.body);
  const auto token = body ? body->find("Token") : json::const_iterator();
  if (!body || token == body->end() || !token->is_string())
    return ErrorReply("SerializationException", "The body has no Token.");
  // A page that is loaded again, or in another tab.
  if (HasSession(request)) return Welcome();
  const auto& given = token->get_ref<const std::string&>();
  if (given.empty()) return NotLetIn();
  const auto cookie = session_.Exchange(given);
  if (!cookie)
    return ErrorReply(
        "ExpiredTokenException",
        "This address was opened before, or is more than ten minutes old. "
        "Start the console again for another.",
        403);
  Touch();
  if (backend_.opened) backend_.opened();
  Reply reply = Welcome();
  reply.headers = std::string("Set-Cookie: ") + kCookie + "=" + *cookie +
                  "; Path=/; HttpOnly; SameSite=Strict\r\n";
  return reply;
}

Reply Console::CallOperation(const HttpRequest& request) {
  const auto body = ParseRequest(request.body);
  if (!body)
    return ErrorReply("SerializationException", "The body is not a JSON object.");
  const std::string* header = request.Header("x-amz-target");
  const std::string_view name = header == nullptr ? std::string_view() : *header;
  if (name.starts_with(kOwnPrefix)) {
    const auto own = backend_.own.find(name.substr(kOwnPrefix.size()));
    if (own != backend_.own.end()) {
      const auto answer = own->second(*body);
      return answer.ok() ? SuccessReply(*answer) : ErrorReply(answer.status());
    }
  } else if (const auto target = ParseTarget(name); target && IsOffered(*target)) {
    const auto answer = backend_.call(target->service, target->operation, *body);
    return answer.ok() ? SuccessReply(*answer) : ErrorReply(answer.status());
  }
  return ErrorReply("UnknownOperationException",
                    "The console offers no such operation.");
}

}  // namespace keyfold
