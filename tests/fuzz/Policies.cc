// Policies: a key policy or an IAM policy is refused with the place of the mistake, or
// says the same when it is written out and read again; and can be decided by.
#include "policy/engine/Engine.h"
#include "policy/parse/Parse.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;

namespace {

const std::string kAccount = "000000000000";

policy::Request SampleRequest() {
  return {"kms:Decrypt",
          "arn:aws:kms:local-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab",
          {{"kms:ViaService", {"fs.keyfold"}},
           {"kms:CallerAccount", {kAccount}},
           {"aws:CurrentTime", {"2026-01-31T12:00:00Z"}},
           {"kms:EncryptionContextKeys", {"department", "owner"}},
           {"kms:EncryptionContext:department", {"finance"}},
           {"kms:ScheduleKeyDeletionPendingWindowInDays", {"7"}}}};
}

void Try(std::string_view text, policy::DocumentKind kind) {
  const auto parsed = policy::ParsePolicy(text, "fuzz", kAccount, kind);
  if (!parsed.ok()) {
    Promise(parsed.status().error() == Error::kMalformedPolicyDocument &&
                parsed.status().message().starts_with("fuzz:"),
            "a refused policy tells where");
    Promise(parsed.status().message().find('\n') == std::string::npos,
            "the message is one line");
    return;
  }
  const std::string written = policy::ToJson(*parsed);
  if (written.size() <= policy::kMaxPolicyBytes) {
    const auto again = policy::ParsePolicy(written, "fuzz", kAccount, kind);
    Promise(again.ok() && *again == *parsed, "a policy survives being written out");
  }
  const policy::IamIndex iam({}, kAccount);
  const policy::Principal cfo = iam.User("cfo", {});
  (void)policy::DecideOnKey(iam, cfo, SampleRequest(), *parsed, {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Try(text, policy::DocumentKind::kKeyPolicy);
  Try(text, policy::DocumentKind::kIdentityPolicy);
  return 0;
}
