#include "fs/cli/Shorthand.h"

#include <string>

namespace keyfold {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 8;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<json> Whole() {
    KF_ASSIGN_OR_RETURN(json object, Object());
    if (at_ != text_.size()) return Wrong("the end");
    return object;
  }

 private:
  Status Wrong(std::string_view expected) const {
    return {Error::kUsage, "\"" + std::string(text_) + "\": expected " +
                               std::string(expected) + " at character " +
                               std::to_string(at_ + 1) + "."};
  }
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Skip(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  // NextIsPair tells "key=..." from one more value of a list.
  bool NextIsPair() const {
    const size_t end = text_.find_first_of(",=\"'{}[]", at_);
    return end != std::string_view::npos && text_[end] == '=';
  }

  Result<json> Object() {
    json object = json::object();
    do {
      const size_t equals = text_.find_first_of(",={}[]", at_);
      if (equals == std::string_view::npos || text_[equals] != '=' || equals == at_)
        return Wrong("NAME=VALUE");
      const std::string key(text_.substr(at_, equals - at_));
      at_ = equals + 1;
      KF_ASSIGN_OR_RETURN(json value, Value());
      while (Peek() == ',' && !PairFollows()) {
        ++at_;
        if (!value.is_array()) value = json::array({value});
        KF_ASSIGN_OR_RETURN(json next, Value());
        value.push_back(std::move(next));
      }
      if (!object.emplace(key, std::move(value)).second)
        return Status(Error::kUsage, "\"" + key + "\" is given twice.");
    } while (Skip(','));
    return object;
  }

  bool PairFollows() {
    ++at_;
    const bool pair = NextIsPair();
    --at_;
    return pair;
  }

  Result<json> Value() {
    if (++depth_ > kMaxDepth) return Wrong("fewer levels");
    auto value = Skip('{') ? Braced() : Skip('[') ? Bracketed() : Scalar();
    --depth_;
    return value;
  }

  Result<json> Braced() {
    if (Skip('}')) return json::object();
    KF_ASSIGN_OR_RETURN(json object, Object());
    if (!Skip('}')) return Wrong("}");
    return object;
  }

  Result<json> Bracketed() {
    json list = json::array();
    if (Skip(']')) return list;
    do {
      KF_ASSIGN_OR_RETURN(json value, Value());
      list.push_back(std::move(value));
    } while (Skip(','));
    if (!Skip(']')) return Wrong("]");
    return list;
  }

  Result<json> Scalar() {
    const char quote = Peek();
    std::string value;
    if (quote == '"' || quote == '\'') {
      for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
        if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
        value += text_[at_];
      }
      if (!Skip(quote)) return Wrong("a closing quote");
      return json(value);
    }
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '}' &&
           text_[at_] != ']')
      value += text_[at_++];
    return json(value);
  }

  const std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<json> ParseShorthand(std::string_view text) { return Parser(text).Whole(); }

}  // namespace keyfold
