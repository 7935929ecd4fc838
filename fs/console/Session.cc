#include "fs/console/Session.h"

#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

constexpr size_t kSecretBytes = 32;
constexpr std::chrono::minutes kTokenAge{10};

std::string NewSecret() {
  return ToBase64Url(RevealSecret(RandomSecret(kSecretBytes)));
}

bool Same(std::string_view a, std::string_view b) {
  return ConstantTimeEqual(AsBytes(a), AsBytes(b));
}

}  // namespace

Session::Session(const Clock& clock)
    : clock_(clock),
      begun_(clock.Now()),
      token_(NewSecret()),
      proof_key_(RandomSecret(kSecretBytes)) {}

std::optional<std::string> Session::Exchange(std::string_view token) {
  const std::lock_guard lock(mutex_);
  if (!cookie_.empty() || clock_.Now() - begun_ > kTokenAge || !Same(token, token_))
    return std::nullopt;
  cookie_ = NewSecret();
  return cookie_;
}

bool Session::Holds(std::string_view cookie) const {
  const std::lock_guard lock(mutex_);
  return !cookie_.empty() && Same(cookie, cookie_);
}

std::string Session::ProofKey() const { return ToBase64(RevealSecret(proof_key_)); }

std::string Session::ProofOf(std::string_view answer) const {
  return ToBase64(HmacSha256(proof_key_, AsBytes(answer)));
}

}  // namespace keyfold
