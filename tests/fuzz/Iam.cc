// Iam: an iam.yaml is refused with the place of the mistake, or says the same when it
// is written out and read again; and every change to and from it can be told.
#include "policy/engine/Engine.h"
#include "policy/parse/Parse.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string account = "000000000000";
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = policy::ParseIam(text, "fuzz", account);
  if (!parsed.ok()) {
    Promise(parsed.status().error() == Error::kMalformedPolicyDocument &&
                parsed.status().message().starts_with("fuzz:"),
            "a refused document tells where");
    return 0;
  }
  const auto again = policy::ParseIam(policy::ToYaml(*parsed), "fuzz", account);
  Promise(again.ok() && *again == *parsed, "a document survives being written out");
  const policy::IamIndex index(*parsed, account);
  const policy::Principal caller = index.User("cfo", {"finance"});
  (void)policy::Diff({}, *parsed, account, caller);
  (void)policy::Diff(*parsed, {}, account, caller);
  Promise(policy::Diff(*parsed, *again, account, caller).empty(),
          "what is equal does not differ");
  policy::Principal assumed;
  for (const auto& [name, role] : parsed->roles)
    (void)index.AssumeRole(name, caller, &assumed);
  (void)policy::DecideOnAccount(index, caller, {"iam:PassRole", "*", {}});
  return 0;
}
