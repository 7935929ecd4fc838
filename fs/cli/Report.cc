#include "fs/cli/Report.h"

#include <cstdio>
#include <string>

#include "fs/cli/ExitCode.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Output.h"

namespace keyfold {
int Fail(const Status& status) {
  std::string reason = Harmless(status.message());
  if (IsServiceError(status) && status.error() != Error::kUsage)
    reason = std::string(ErrorName(status.error())) + ": " + reason;
  std::fprintf(stderr, "keyfold: %s\n", reason.c_str());
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
  return kExitServiceError;
}

}  // namespace keyfold
