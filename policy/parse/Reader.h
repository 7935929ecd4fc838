// Reader: helpers that take values out of a tree and word what was wrong.
//
// Must not know: what a policy means.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "policy/parse/YamlTree.h"

namespace keyfold::policy {

// Source is the name quoted in errors, and the account that names belong to.
struct Source {
  std::string_view name;
  const std::string& account;
};

// A list's text and where each item stands.
struct Item {
  std::string text;
  const Node* node;
};

Status ErrorAt(const Source& source, const Node& node, const std::string& message);
// ErrorExpected words "NAME:L:C: found X; expected Y".
Status ErrorExpected(const Source& source, const Node& node, std::string_view expected);

// Describe says what a node is: "a list", "an empty value", "\"text\"".
std::string Describe(const Node& node);

Status ExpectMap(const Source& source, const Node& node, std::string_view expected);
// ReadText takes a scalar that is not empty and at most 2,048 characters long.
Result<std::string> ReadText(const Source& source, const Node& node,
                             std::string_view expected);
// ReadItems takes one scalar or a list of them. An empty list is refused unless
// `may_be_empty`.
Result<std::vector<Item>> ReadItems(const Source& source, const Node& node,
                                    std::string_view expected,
                                    bool may_be_empty = false);

// UnknownKey words the error for `key`, which is none of `known`, with the
// nearest of them when it looks like a slip.
Status UnknownKey(const Source& source, const Node& key, std::string_view of_what,
                  const std::vector<std::string_view>& known);

}  // namespace keyfold::policy
