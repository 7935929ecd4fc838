#include "policy/parse/YamlTree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>
#include <unordered_set>

namespace keyfold::policy {
namespace {

// Refusal leaves the parser from inside a callback; it ends in ParseTree.
struct Refusal {
  int line, column;
  std::string message;
};

[[noreturn]] void Refuse(const YAML::Mark& mark, std::string message) {
  throw Refusal{mark.line + 1, mark.column + 1, std::move(message)};
}

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, const TreeLimits& limits)
      : text_(text), limits_(limits) {}

  Node Take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) Refuse(mark, "a second document; only one is expected");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Node node = Make(Node::Kind::kNull, mark, "", anchor);
    // YAML takes the operator Null, as a key without quotes, for a null.
    if (KeyIsDue() && TextAt(mark).starts_with("Null")) {
      node.kind = Node::Kind::kScalar;
      node.text = "Null";
    }
    Put(std::move(node), mark);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(mark, "a YAML alias; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node node = Make(Node::Kind::kScalar, mark, tag, anchor);
    node.text = value;
    Put(std::move(node), mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    Open(Make(Node::Kind::kList, mark, tag, anchor), mark);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(Make(Node::Kind::kMap, mark, tag, anchor), mark);
  }
  void OnMapEnd() override { Close(); }

 private:
  // Level is a list or map that is still being read. For a map, `key` is what
  // awaits its value.
  struct Level {
    Node node;
    Node key;
    bool has_key = false;
    std::unordered_set<std::string> seen;
  };

  // yaml-cpp gives "?" for a plain scalar and "!" for a quoted one.
  Node Make(Node::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    if (anchor != 0) Refuse(mark, "a YAML anchor; anchors are not supported");
    if (!tag.empty() && tag != "?" && tag != "!")
      Refuse(mark, "the YAML tag " + Quote(tag) + "; tags are not supported");
    if (++nodes_ > limits_.nodes)
      Refuse(mark, "more than " + std::to_string(limits_.nodes) + " values");
    Node node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }

  void Open(Node node, const YAML::Mark& mark) {
    if (levels_.size() >= limits_.depth)
      Refuse(mark,
             "values nested more than " + std::to_string(limits_.depth) + " deep");
    CheckKey(node, mark);
    levels_.push_back({std::move(node), {}, false, {}});
  }

  void Close() {
    Node node = std::move(levels_.back().node);
    levels_.pop_back();
    Store(std::move(node));
  }

  void Put(Node node, const YAML::Mark& mark) {
    CheckKey(node, mark);
    Store(std::move(node));
  }

  std::string_view TextAt(const YAML::Mark& mark) const {
    const size_t at = static_cast<size_t>(std::max(mark.pos, 0));
    return at < text_.size() ? text_.substr(at) : std::string_view();
  }

  bool KeyIsDue() const {
    return !levels_.empty() && levels_.back().node.kind == Node::Kind::kMap &&
           !levels_.back().has_key;
  }

  // CheckKey refuses what can't be a key where a key is due.
  void CheckKey(const Node& node, const YAML::Mark& mark) {
    if (!KeyIsDue()) return;
    Level& level = levels_.back();
    if (node.kind != Node::Kind::kScalar)
      Refuse(mark, "a key that is not plain text; is a bracket not closed?");
    if (!level.seen.insert(node.text).second)
      Refuse(mark, "the key " + Quote(node.text) + " a second time");
  }

  void Store(Node node) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node.kind == Node::Kind::kList) {
      level.node.items.push_back(std::move(node));
    } else if (level.has_key) {
      level.node.entries.push_back({std::move(level.key), std::move(node)});
      level.has_key = false;
    } else {
      level.key = std::move(node);
      level.has_key = true;
    }
  }

  const std::string_view text_;
  const TreeLimits limits_;
  Node root_;
  std::vector<Level> levels_;
  size_t nodes_ = 0;
  int documents_ = 0;
};

// Utf8Length is how many bytes at the front of `text` make one character, 0 for
// none. Overlong forms, surrogates and what exceeds U+10FFFF are none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
      (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F))
    return 0;
  return length;
}

// CheckText refuses bytes that are not UTF-8 text before yaml-cpp sees them: it
// would guess at encodings and stop at NUL.
Status CheckText(std::string_view text, std::string_view source_name) {
  int line = 1, column = 1;
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0)
      return Malformed(source_name, line, column, "bytes that are not UTF-8 text");
    const char c = text[0];
    if ((c >= 0 && c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F)
      return Malformed(source_name, line, column, "a control character");
    ++column;
    if (c == '\n') ++line, column = 1;
    text.remove_prefix(length);
  }
  return OkStatus();
}

}  // namespace

Status Malformed(std::string_view source_name, int line, int column,
                 const std::string& message) {
  std::string text(source_name);
  text += ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + message;
  return {Error::kMalformedPolicyDocument, std::move(text)};
}

std::string Quote(std::string_view text) {
  constexpr size_t kLongest = 60;
  std::string quoted = "\"";
  size_t shown = 0;
  while (!text.empty() && shown < kLongest) {
    const size_t length = Utf8Length(text);
    const char c = text[0];
    const bool plain = length > 1 || (length == 1 && c >= 0x20 && c != 0x7F);
    quoted += plain ? std::string(text.substr(0, length)) : "?";
    text.remove_prefix(length == 0 ? 1 : length);
    ++shown;
  }
  if (!text.empty()) quoted += "...";
  return quoted + "\"";
}

Result<Node> ParseTree(std::string_view text, std::string_view source_name,
                       const TreeLimits& limits) {
  if (text.size() > limits.bytes)
    return Malformed(source_name, 1, 1,
                     std::to_string(text.size()) + " bytes; at most " +
                         std::to_string(limits.bytes) + " are accepted");
  KF_RETURN_IF_ERROR(CheckText(text, source_name));
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(text, limits);
    if (!parser.HandleNextDocument(builder))
      return Malformed(source_name, 1, 1, "nothing; a document is expected");
    parser.HandleNextDocument(builder);
    return builder.Take();
  } catch (const Refusal& refusal) {
    return Malformed(source_name, refusal.line, refusal.column, refusal.message);
  } catch (const YAML::Exception& error) {
    const bool placed = error.mark.line >= 0 && error.mark.column >= 0;
    return Malformed(source_name, placed ? error.mark.line + 1 : 1,
                     placed ? error.mark.column + 1 : 1,
                     "not valid YAML or JSON: " + error.msg);
  } catch (const std::exception& error) {
    return Malformed(source_name, 1, 1, std::string("unreadable: ") + error.what());
  }
}

}  // namespace keyfold::policy
