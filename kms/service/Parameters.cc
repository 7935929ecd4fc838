#include "kms/service/Parameters.h"

#include <algorithm>
#include <cmath>

#include "kms/crypto/Crypto.h"
#include "kms/service/Limits.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kLongestRecordedText = 4096;
constexpr double kLastTime = 253402300799;  // 9999-12-31T23:59:59Z

Status Invalid(std::string_view name, const std::string& expected) {
  return {Error::kValidation,
          "1 validation error detected: '" + LowerCamel(name) + "' " + expected};
}

bool AllStrings(const json& value) {
  return std::all_of(value.begin(), value.end(),
                     [](const json& item) { return item.is_string(); });
}

Status CheckKind(const Parameter& parameter, const json& value) {
  const std::string_view name = parameter.name;
  switch (parameter.kind) {
    case Kind::kString:
      return value.is_string() ? OkStatus() : Invalid(name, "must be a string");
    case Kind::kInteger:
      return value.is_number_integer() ? OkStatus()
                                       : Invalid(name, "must be an integer");
    case Kind::kBoolean:
      return value.is_boolean() ? OkStatus() : Invalid(name, "must be true or false");
    case Kind::kBlob:
      return value.is_string() && FromBase64(value.get_ref<const std::string&>())
                 ? OkStatus()
                 : Invalid(name, "must be base64");
    case Kind::kTimestamp: {
      const bool good = value.is_number() && std::isfinite(value.get<double>()) &&
                        value.get<double>() >= 0 && value.get<double>() <= kLastTime;
      return good ? OkStatus() : Invalid(name, "must be a time in seconds since 1970");
    }
    case Kind::kStringMap:
      return value.is_object() && AllStrings(value)
                 ? OkStatus()
                 : Invalid(name, "must map strings to strings");
    case Kind::kStringList:
      return value.is_array() && AllStrings(value)
                 ? OkStatus()
                 : Invalid(name, "must be a list of strings");
    case Kind::kStructure:
      return value.is_object() ? OkStatus() : Invalid(name, "must be a structure");
    case Kind::kStructureList: {
      const bool good = value.is_array() &&
                        std::all_of(value.begin(), value.end(),
                                    [](const json& item) { return item.is_object(); });
      return good ? OkStatus() : Invalid(name, "must be a list of structures");
    }
  }
  return OkStatus();
}

const Parameter* Find(const Operation& operation, std::string_view name) {
  for (const Parameter& parameter : operation.parameters)
    if (parameter.name == name) return &parameter;
  return nullptr;
}

json Shortened(const json& value, bool confidential) {
  const std::string text =
      value.is_string() ? value.get<std::string>()
                        : value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= kLongestRecordedText && !confidential) return value;
  return {{"size", text.size()}, {"sha256", ToHex(Sha256(AsBytes(text)))}};
}

}  // namespace

Result<Parameters> Parameters::Check(const Operation& operation, const json& request) {
  if (!request.is_object())
    return Status(Error::kValidation, "The request must be a JSON object.");
  Parameters out;
  for (const auto& [name, value] : request.items()) {
    const Parameter* parameter = Find(operation, name);
    if (parameter == nullptr)
      return Status(
          Error::kValidation,
          std::string(operation.name) + " does not know the parameter '" + name + "'.");
    if (value.is_null()) continue;
    KF_RETURN_IF_ERROR(CheckKind(*parameter, value));
    KF_RETURN_IF_ERROR(CheckLimits(*parameter, value));
    out.request_[name] = value;
  }
  for (const Parameter& parameter : operation.parameters)
    if (parameter.required && !out.request_.contains(parameter.name))
      return Invalid(parameter.name, "must not be null");
  return out;
}

Parameters Parameters::OfRefused(const Operation& operation, const json& request) {
  Parameters out;
  if (!request.is_object()) return out;
  for (const auto& [name, value] : request.items())
    if (const Parameter* parameter = Find(operation, name);
        parameter != nullptr && !value.is_null() && CheckKind(*parameter, value).ok() &&
        CheckLimits(*parameter, value).ok())
      out.request_[name] = value;
  return out;
}

std::string Parameters::String(const char* name, const std::string& otherwise) const {
  const auto it = request_.find(name);
  return it == request_.end() ? otherwise : it->get<std::string>();
}

std::string Parameters::Text(const char* name) const {
  const auto it = request_.find(name);
  if (it == request_.end()) return {};
  return it->is_string() ? it->get<std::string>() : it->dump();
}

bool Parameters::Boolean(const char* name) const {
  const auto it = request_.find(name);
  return it != request_.end() && it->get<bool>();
}

std::optional<int64_t> Parameters::Integer(const char* name) const {
  const auto it = request_.find(name);
  if (it == request_.end()) return std::nullopt;
  return it->get<int64_t>();
}

Bytes Parameters::Blob(const char* name) const {
  const auto it = request_.find(name);
  if (it == request_.end()) return {};
  return FromBase64(it->get_ref<const std::string&>()).value_or(Bytes{});
}

std::optional<TimePoint> Parameters::Timestamp(const char* name) const {
  const auto it = request_.find(name);
  if (it == request_.end()) return std::nullopt;
  return TimePoint(std::chrono::milliseconds(std::llround(it->get<double>() * 1000)));
}

std::map<std::string, std::string> Parameters::Map(const char* name) const {
  const auto it = request_.find(name);
  if (it == request_.end()) return {};
  return it->get<std::map<std::string, std::string>>();
}

std::vector<std::string> Parameters::Strings(const char* name) const {
  const auto it = request_.find(name);
  if (it == request_.end()) return {};
  return it->get<std::vector<std::string>>();
}

json Parameters::Structure(const char* name) const {
  const auto it = request_.find(name);
  return it == request_.end() ? json() : *it;
}

json Parameters::ForAudit(const Operation& operation) const {
  json out = json::object();
  for (const auto& [name, value] : request_.items()) {
    const Parameter* parameter = Find(operation, name);
    if (parameter != nullptr && parameter->kind != Kind::kBlob)
      out[LowerCamel(name)] = Shortened(value, parameter->confidential);
  }
  return out;
}

}  // namespace keyfold
