#include "fs/cli/Report.h"

#include <cstdio>
#include <string>

#include "fs/cli/ExitCode.h"

namespace keyfold {
namespace {

// Messages may quote names that others chose: no control character reaches the
// terminal, and a reason stays one line.
std::string OneLine(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

}  // namespace

int Fail(const Status& status) {
  std::string reason = OneLine(status.message());
  if (IsServiceError(status) && status.error() != Error::kUsage)
    reason = std::string(ErrorName(status.error())) + ": " + reason;
  std::fprintf(stderr, "keyfold: %s\n", reason.c_str());
  return ExitCodeOf(status);
}

int FailCall(std::string_view operation, const Status& status) {
  if (!IsServiceError(status)) return Fail(status);
  std::fprintf(stderr, "\nAn error occurred (%s) when calling the %s operation: %s\n",
               std::string(ErrorName(status.error())).c_str(),
               std::string(operation).c_str(), OneLine(status.message()).c_str());
  return kExitServiceError;
}

}  // namespace keyfold
