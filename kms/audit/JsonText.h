// JsonText: a JSON object written member by member as text, for records that are
// written so often that a tree of values would cost more than what they tell of.
//
// Owns: the text. Must not know: what the members mean. Not synchronised.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace keyfold {

class JsonText {
 public:
  // Add appends a member; a name that was added before counts no more. Bytes that are
  // not UTF-8 are replaced by U+FFFD.
  JsonText& Add(std::string_view name, std::string_view value);
  JsonText& Add(std::string_view name, const char* value) {
    return Add(name, std::string_view(value));
  }
  JsonText& Add(std::string_view name, bool value) {
    return AddJson(name, value ? "true" : "false");
  }
  JsonText& Add(std::string_view name, uint64_t value) {
    return AddJson(name, std::to_string(value));
  }
  // AddJson appends a member whose value is JSON already.
  JsonText& AddJson(std::string_view name, std::string_view json);
  // AddMembers appends the members of another object, without its braces.
  JsonText& AddMembers(std::string_view members);
  std::string Object() const { return "{" + members_ + "}"; }

 private:
  void Name(std::string_view name);
  std::string members_;
};

}  // namespace keyfold
