// Alerts: rules are refused with the place of the mistake, or judge any record without
// harm, whatever members it has and however often it comes.
//
// An input is rules, a line "---", and a record as JSON.
#include "kms/service/AlertEngine.h"
#include "policy/parse/Parse.h"
#include "tests/fuzz/Input.h"

using namespace keyfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(text.find("\n---\n"), text.size());
  const auto rules =
      policy::ParseAlertRules(text.substr(0, end), "fuzz", "000000000000");
  if (!rules.ok()) {
    Promise(rules.status().error() == Error::kMalformedPolicyDocument &&
                rules.status().message().starts_with("fuzz:"),
            "refused rules tell where");
    return 0;
  }
  const std::string_view rest = text.substr(std::min(end + 5, text.size()));
  const auto record = nlohmann::json::parse(rest, nullptr, false);
  if (!record.is_object()) return 0;
  AlertEngine engine(
      [](std::string_view) { return std::set<std::string>{"alias/cfo"}; });
  engine.Use(*rules);
  const TimePoint start{std::chrono::milliseconds(1767225600000)};
  for (int second = 0; second < 20; ++second)
    for (const AlertEngine::Raised& raised :
         engine.Judge(record, start + std::chrono::seconds(second)))
      Promise(!raised.name.empty(), "an alert has a name");
  return 0;
}
