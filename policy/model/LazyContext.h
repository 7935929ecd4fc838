// LazyContext: condition keys that are found out when a decision first asks for one.
// Most policies have no conditions, and most grants no constraints.
//
// Owns: the condition keys, once found. Must not know: where they come from. One
// thread.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace keyfold::policy {

// Context carries condition keys ("kms:ViaService") to their values.
using Context = std::map<std::string, std::vector<std::string>>;

class LazyContext {
 public:
  LazyContext() : known_(Context()) {}
  LazyContext(Context known) : known_(std::move(known)) {}
  LazyContext(std::initializer_list<Context::value_type> known)
      : known_(Context(known)) {}
  // What `find` refers to must live as long as this.
  explicit LazyContext(std::function<Context()> find) : find_(std::move(find)) {}

  const Context& get() const {
    if (!known_) known_ = find_();
    return *known_;
  }

 private:
  std::function<Context()> find_;
  mutable std::optional<Context> known_;
};

}  // namespace keyfold::policy
