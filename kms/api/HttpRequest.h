// HttpRequest: what a handler sees of one request. Plain values.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace keyfold {

struct HttpRequest {
  std::string method;  // "POST", "GET"
  std::string target;  // path and query, as sent: "/"
  // In the order of their names, which are in lower case; a name may repeat.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  // Header is the first value of that name (lower case); null when there is none.
  const std::string* Header(const std::string& name) const {
    for (const auto& [known, value] : headers)
      if (known == name) return &value;
    return nullptr;
  }
};

}  // namespace keyfold
