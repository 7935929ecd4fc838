#include "policy/parse/Reader.h"

#include "kms/base/Spelling.h"
#include "policy/model/Model.h"

namespace keyfold::policy {
namespace {

constexpr size_t kMaxText = 2048;

}  // namespace

Status ErrorAt(const Source& source, const Node& node, const std::string& message) {
  return Malformed(source.name, node.line, node.column, message);
}

Status ErrorExpected(const Source& source, const Node& node,
                     std::string_view expected) {
  return ErrorAt(source, node,
                 "found " + Describe(node) + "; expected " + std::string(expected));
}

std::string Describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return "an empty value";
    case Node::Kind::kScalar:
      return Quote(node.text);
    case Node::Kind::kList:
      return node.items.empty() ? "an empty list" : "a list";
    case Node::Kind::kMap:
      return "a map";
  }
  return "";
}

Status ExpectMap(const Source& source, const Node& node, std::string_view expected) {
  if (node.kind != Node::Kind::kMap) return ErrorExpected(source, node, expected);
  return OkStatus();
}

Result<std::string> ReadText(const Source& source, const Node& node,
                             std::string_view expected) {
  if (node.kind != Node::Kind::kScalar || node.text.empty())
    return ErrorExpected(source, node, expected);
  if (node.text.size() > kMaxText)
    return ErrorAt(source, node,
                   "text of " + std::to_string(node.text.size()) + " bytes; at most " +
                       std::to_string(kMaxText) + " are accepted");
  return node.text;
}

Result<std::vector<Item>> ReadItems(const Source& source, const Node& node,
                                    std::string_view expected, bool may_be_empty) {
  std::vector<Item> items;
  if (node.kind != Node::Kind::kList) {
    KF_ASSIGN_OR_RETURN(std::string text, ReadText(source, node, expected));
    items.push_back({std::move(text), &node});
    return items;
  }
  if (node.items.empty() && !may_be_empty) return ErrorExpected(source, node, expected);
  for (const Node& item : node.items) {
    KF_ASSIGN_OR_RETURN(std::string text, ReadText(source, item, expected));
    items.push_back({std::move(text), &item});
  }
  return items;
}

Status UnknownKey(const Source& source, const Node& key, std::string_view of_what,
                  const std::vector<std::string_view>& known) {
  std::string message =
      "found " + Quote(key.text) + ", which is no key of " + std::string(of_what);
  const std::string near = Nearest(key.text, known);
  if (!near.empty())
    return ErrorAt(source, key, message + "; did you mean " + Quote(near) + "?");
  message += "; expected ";
  for (size_t i = 0; i < known.size(); ++i) {
    if (i > 0) message += i + 1 == known.size() ? " or " : ", ";
    message += known[i];
  }
  return ErrorAt(source, key, message);
}

}  // namespace keyfold::policy
