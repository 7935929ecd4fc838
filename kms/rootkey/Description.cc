#include "kms/rootkey/Description.h"

namespace keyfold {

using nlohmann::json;

Status DamagedDescription(std::string_view member) {
  return {Error::kCorrupt, "The root key's description is damaged at \"" +
                               std::string(member) +
                               "\". Restore the store's configuration from a backup."};
}

std::optional<std::string> TextMember(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_string()) return std::nullopt;
  return it->get<std::string>();
}

std::optional<Bytes> BytesMember(const json& object, const char* name, size_t least,
                                 size_t most) {
  const auto text = TextMember(object, name);
  if (!text) return std::nullopt;
  auto bytes = FromBase64(*text);
  if (!bytes || bytes->size() < least || bytes->size() > most) return std::nullopt;
  return bytes;
}

std::optional<unsigned> SmallMember(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_number_integer()) return std::nullopt;
  const auto value = it->get<int64_t>();
  if (value < 0 || value > 1000) return std::nullopt;
  return static_cast<unsigned>(value);
}

std::optional<std::string> PathMember(const json& object, const char* name) {
  auto path = TextMember(object, name);
  if (!path || path->empty() || (*path)[0] != '/' ||
      path->find('\0') != std::string::npos)
    return std::nullopt;
  return path;
}

}  // namespace keyfold
