#include "kms/api/SubordinateIds.h"

#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>

#include "kms/base/LocalUser.h"

namespace keyfold {
namespace {

std::optional<uid_t> Number(std::string_view text) {
  uid_t number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// OwnerNamed reads a login name or a uid.
std::optional<uid_t> OwnerNamed(const std::string& name) {
  if (const auto user = FindLocalUser(name)) return user->uid;
  return Number(name);
}

}  // namespace

SubordinateIds SubordinateIds::Read(const std::string& path) {
  SubordinateIds ids;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t one = line.find(':'), two = line.find(':', one + 1);
    if (one == line.npos || two == line.npos) continue;
    const auto owner = OwnerNamed(line.substr(0, one));
    const auto first = Number(std::string_view(line).substr(one + 1, two - one - 1));
    const auto count = Number(std::string_view(line).substr(two + 1));
    // Root's are those of whole containers, of many users.
    if (owner && *owner != 0 && first && count)
      ids.ranges_.push_back({*first, *count, *owner});
  }
  return ids;
}

uid_t SubordinateIds::OwnerOf(uid_t uid) const {
  for (const Range& range : ranges_)
    if (uid >= range.first && uid - range.first < range.count) return range.owner;
  return uid;
}

}  // namespace keyfold
