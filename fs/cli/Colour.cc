#include "fs/cli/Colour.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace keyfold {
namespace {

constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kPlain = "\x1b[0m";

struct Meaning {
  std::string_view word;
  const char* colour;
};
constexpr Meaning kMeanings[] = {
    {"ok", kGreen},
    {"allowed", kGreen},
    {"Enabled", kGreen},
    {"warning", kYellow},
    {"Disabled", kYellow},
    {"PendingImport", kYellow},
    {"bad", kRed},
    {"explicitDeny", kRed},
    {"implicitDeny", kRed},
    {"PendingDeletion", kRed},
    {"IntegrityFailure", kRed},
};

const char* ColourOf(std::string_view cell) {
  for (const Meaning& one : kMeanings)
    if (one.word == cell) return one.colour;
  const bool error = cell.ends_with("Exception") && cell.find(' ') == cell.npos;
  return error ? kRed : nullptr;
}

bool ShowsColours() {
  static const bool shows = [] {
    const char *none = ::getenv("NO_COLOR"), *kind = ::getenv("TERM");
    return ::isatty(STDOUT_FILENO) == 1 && (none == nullptr || *none == '\0') &&
           kind != nullptr && std::string_view(kind) != "dumb";
  }();
  return shows;
}

}  // namespace

std::string Coloured(const std::string& cell) {
  const char* colour = ShowsColours() ? ColourOf(cell) : nullptr;
  return colour == nullptr ? cell : colour + cell + kPlain;
}

}  // namespace keyfold
