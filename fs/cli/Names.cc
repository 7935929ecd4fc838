#include "fs/cli/Names.h"

#include <cctype>

namespace keyfold {
std::string KebabCase(std::string_view name) {
  std::string out;
  for (char c : name) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isupper(u) && !out.empty()) out += '-';
    out += static_cast<char>(std::tolower(u));
  }
  return out;
}

}  // namespace keyfold
