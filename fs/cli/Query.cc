#include "fs/cli/Query.h"

#include <charconv>
#include <string>

namespace keyfold {
namespace {

using nlohmann::json;

Status NotSupported(std::string_view path) {
  return {Error::kUsage,
          "--query \"" + std::string(path) +
              "\" is not understood: use names joined by dots, [N] or [], "
              "such as Keys[0].KeyId."};
}

Result<json> Follow(const json& value, std::string_view rest, std::string_view whole);

// Project applies `rest` to every item and leaves out what is null.
Result<json> Project(const json& list, std::string_view rest, std::string_view whole) {
  if (!list.is_array()) return json();
  json out = json::array();
  for (const json& item : list) {
    KF_ASSIGN_OR_RETURN(json found, Follow(item, rest, whole));
    if (!found.is_null()) out.push_back(std::move(found));
  }
  return out;
}

Result<json> FollowBracket(const json& value, std::string_view rest,
                           std::string_view whole) {
  const size_t close = rest.find(']');
  if (close == std::string_view::npos) return NotSupported(whole);
  const std::string_view inside = rest.substr(1, close - 1);
  rest.remove_prefix(close + 1);
  if (inside.empty() || inside == "*") return Project(value, rest, whole);
  int index = 0;
  const auto [end, error] =
      std::from_chars(inside.data(), inside.data() + inside.size(), index);
  if (error != std::errc() || end != inside.data() + inside.size())
    return NotSupported(whole);
  const int size = value.is_array() ? static_cast<int>(value.size()) : 0;
  if (index < 0) index += size;
  if (index < 0 || index >= size) return Follow(json(), rest, whole);
  return Follow(value[static_cast<size_t>(index)], rest, whole);
}

Result<json> Follow(const json& value, std::string_view rest, std::string_view whole) {
  if (rest.empty()) return value;
  if (rest.front() == '[') return FollowBracket(value, rest, whole);
  if (rest.front() == '.') {
    rest.remove_prefix(1);
    if (rest.empty() || rest.front() == '[') return NotSupported(whole);
  }
  const size_t end = rest.find_first_of(".[");
  const std::string name(rest.substr(0, end));
  if (name.empty() ||
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789_") != std::string::npos)
    return NotSupported(whole);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end);
  const auto found = value.is_object() ? value.find(name) : value.end();
  return Follow(value.is_object() && found != value.end() ? *found : json(), rest,
                whole);
}

}  // namespace

Result<json> Query(const json& value, std::string_view path) {
  if (!path.empty() && path.front() == '.') return NotSupported(path);
  return Follow(value, path, path);
}

}  // namespace keyfold
