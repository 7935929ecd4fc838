#include "fs/cli/Parameters.h"

#include <fcntl.h>

#include <charconv>

#include "fs/backend/Backend.h"
#include "fs/cli/Names.h"
#include "fs/cli/Shorthand.h"
#include "fs/cli/Times.h"
#include "kms/base/Bytes.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxFile = 1 << 20;

Status Wrong(const Parameter& parameter, const std::string& expected) {
  return {Error::kUsage,
          "--" + KebabCase(parameter.name) + " expects " + expected + "."};
}

Result<std::string> TextOf(const std::string& value) {
  if (value.starts_with("file://")) return ReadTextFile(value.substr(7), kMaxFile);
  return value;
}

std::string WithoutSpace(const std::string& text) {
  std::string out;
  for (char c : text)
    if (c != '\n' && c != '\r' && c != ' ' && c != '\t') out += c;
  return out;
}

Result<json> BlobOf(const Parameter& parameter, const std::string& value) {
  if (value.starts_with("fileb://")) {
    KF_ASSIGN_OR_RETURN(const std::string bytes,
                        ReadTextFile(value.substr(8), kMaxFile));
    return json(ToBase64(AsBytes(bytes)));
  }
  KF_ASSIGN_OR_RETURN(const std::string text, TextOf(value));
  std::string base64 = WithoutSpace(text);
  if (!FromBase64(base64))
    return Wrong(parameter, "base64 text, or fileb://FILE for a file's bytes");
  return json(base64);
}

Result<json> IntegerOf(const Parameter& parameter, const std::string& text) {
  int64_t value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return Wrong(parameter, "a whole number");
  return json(value);
}

Result<json> TimestampOf(const Parameter& parameter, const std::string& text) {
  const auto time = ParseTime(text);
  if (!time)
    return Wrong(parameter,
                 "a time such as 2026-01-31T12:00:00Z, or seconds since 1970");
  return json(static_cast<double>(time->time_since_epoch().count()) / 1000.0);
}

bool LooksLikeJson(const std::string& text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  return start != std::string::npos && (text[start] == '{' || text[start] == '[');
}

// StructureOf reads JSON or shorthand.
Result<json> StructureOf(const Parameter& parameter, const std::string& text) {
  if (!LooksLikeJson(text)) return ParseShorthand(text);
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return Wrong(parameter, "JSON that can be parsed");
  return value;
}

Result<json> ListOf(const Parameter& parameter,
                    const std::vector<std::string>& values) {
  json list = json::array();
  for (const std::string& value : values) {
    KF_ASSIGN_OR_RETURN(const std::string text, TextOf(value));
    if (parameter.kind == Kind::kStringList && !LooksLikeJson(text)) {
      list.push_back(text);
      continue;
    }
    KF_ASSIGN_OR_RETURN(json item, StructureOf(parameter, text));
    if (item.is_array()) {
      list.insert(list.end(), item.begin(), item.end());
    } else {
      list.push_back(std::move(item));
    }
  }
  return list;
}

}  // namespace

Result<std::string> ReadTextFile(const std::string& path, size_t limit) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) return Status::FromErrno(errno, path);
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Status::FromErrno(errno, path);
    if (count == 0) return text;
    text.append(buffer, static_cast<size_t>(count));
    if (text.size() > limit)
      return Status(Error::kUsage,
                    path + " is larger than " + std::to_string(limit) + " bytes.");
  }
}

Result<json> ParseParameter(const Parameter& parameter,
                            const std::vector<std::string>& values) {
  if (parameter.kind == Kind::kStringList || parameter.kind == Kind::kStructureList)
    return ListOf(parameter, values);
  const std::string& value = values.empty() ? "" : values.back();
  if (parameter.kind == Kind::kBlob) return BlobOf(parameter, value);
  KF_ASSIGN_OR_RETURN(std::string text, TextOf(value));
  switch (parameter.kind) {
    case Kind::kInteger:
      return IntegerOf(parameter, text);
    case Kind::kTimestamp:
      return TimestampOf(parameter, text);
    case Kind::kStringMap:
    case Kind::kStructure:
      return StructureOf(parameter, text);
    default:
      return json(text);
  }
}

}  // namespace keyfold
