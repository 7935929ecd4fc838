#include "policy/parse/Reader.h"

#include <algorithm>

#include "policy/model/Model.h"

namespace keyfold::policy {
namespace {

constexpr size_t kMaxText = 2048;

// EditDistance counts insertions, removals and replacements, letters of either
// case alike.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = EqualsIgnoreCase(a.substr(i - 1, 1), b.substr(j - 1, 1));
      const size_t replaced = diagonal + (same ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

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
  const std::string_view near = Nearest(key.text, known);
  if (!near.empty())
    return ErrorAt(source, key, message + "; did you mean " + Quote(near) + "?");
  message += "; expected ";
  for (size_t i = 0; i < known.size(); ++i) {
    if (i > 0) message += i + 1 == known.size() ? " or " : ", ";
    message += known[i];
  }
  return ErrorAt(source, key, message);
}

std::string_view Nearest(std::string_view text,
                         const std::vector<std::string_view>& known) {
  constexpr size_t kSlips = 2;
  constexpr size_t kLongest = 64;
  if (text.size() > kLongest) return "";
  std::string_view best;
  size_t best_distance = std::min(kSlips, text.size() / 2) + 1;
  for (std::string_view candidate : known) {
    const size_t distance = EditDistance(text, candidate);
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

}  // namespace keyfold::policy
