#include "kms/audit/JsonText.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace keyfold {
namespace {

using nlohmann::json;

bool IsPlain(char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

void AppendString(std::string& out, std::string_view text) {
  if (std::all_of(text.begin(), text.end(), IsPlain)) {
    out += '"';
    out += text;
    out += '"';
  } else {
    out += json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  }
}

}  // namespace

void JsonText::Name(std::string_view name) {
  if (members_.empty())
    members_.reserve(512);
  else
    members_ += ',';
  AppendString(members_, name);
  members_ += ':';
}

JsonText& JsonText::Add(std::string_view name, std::string_view value) {
  Name(name);
  AppendString(members_, value);
  return *this;
}

JsonText& JsonText::AddJson(std::string_view name, std::string_view json) {
  Name(name);
  members_ += json;
  return *this;
}

JsonText& JsonText::AddMembers(std::string_view members) {
  if (!members_.empty() && !members.empty()) members_ += ',';
  members_ += members;
  return *this;
}

}  // namespace keyfold
