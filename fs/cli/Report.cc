#include "fs/cli/Report.h"

#include <unistd.h>

#include <cstdio>
#include <string>

#include "fs/cli/ExitCode.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Output.h"

namespace keyfold {
namespace {

// ShowWhy tells people, not scripts, what explains a refusal.
void ShowWhy(const Status& status) {
  if (status.error() != Error::kAccessDenied || ::isatty(STDERR_FILENO) != 1) return;
  constexpr std::string_view kAction = " to perform: ", kResource = " on resource: ";
  const std::string& text = status.message();
  const size_t action = text.find(kAction), resource = text.find(kResource);
  if (action == text.npos || resource == text.npos) return;
  const size_t from = action + kAction.size();
  const std::string key = text.substr(resource + kResource.size());
  std::fprintf(
      stderr, "See why: keyfold iam simulate --action %s%s\n",
      Harmless(text.substr(from, resource - from)).c_str(),
      key.find(":key/") == key.npos ? "" : (" --key " + Harmless(key)).c_str());
}

// ShowAlias tells who forgot the prefix of an alias, which so was taken for a key's id.
void ShowAlias(const Status& status) {
  constexpr std::string_view kBegin = "Key '", kEnd = "' does not exist";
  constexpr size_t kUuidSize = 36;
  const std::string& text = status.message();
  if (status.error() != Error::kNotFound || !text.starts_with(kBegin) ||
      !text.ends_with(kEnd))
    return;
  std::string name =
      text.substr(kBegin.size(), text.size() - kBegin.size() - kEnd.size());
  if (const size_t key = name.rfind(":key/"); key != name.npos) name.erase(0, key + 5);
  if (name.size() == kUuidSize || name.find(':') != name.npos) return;
  std::fprintf(stderr, "keyfold: names of aliases begin with alias/, as in alias/%s\n",
               Harmless(name).c_str());
}

}  // namespace

int Fail(const Status& status) {
  std::string reason = Harmless(status.message());
  if (IsServiceError(status) && status.error() != Error::kUsage)
    reason = std::string(ErrorName(status.error())) + ": " + reason;
  std::fprintf(stderr, "keyfold: %s\n", reason.c_str());
  ShowWhy(status);
  ShowAlias(status);
  return ExitCodeOf(status);
}

int PrintOrFail(const std::string& text) {
  const Status printed = Print(text);
  return printed.ok() ? kExitOk : Fail(printed);
}

int FailCall(std::string_view operation, const Status& status) {
  if (!IsServiceError(status)) return Fail(status);
  std::fprintf(stderr, "\nAn error occurred (%s) when calling the %s operation: %s\n",
               std::string(ErrorName(status.error())).c_str(),
               std::string(operation).c_str(), Harmless(status.message()).c_str());
  ShowWhy(status);
  ShowAlias(status);
  return kExitServiceError;
}

}  // namespace keyfold
