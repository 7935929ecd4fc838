// Top: what a store's GetActivity says, as people read it.
//
// Owns: the shape of the page, and rates made of two answers. Must not know: the
// terminal, the socket. Pure functions.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "fs/cli/Output.h"

namespace keyfold {

// NameOf is a user's name.
using NameOf = std::function<std::string(uid_t uid)>;

// TopPage shows `now`, with rates since `before`, an earlier answer or null. It has at
// most `lines` lines.
std::string TopPage(const std::string& mountpoint, const nlohmann::json& now,
                    const nlohmann::json& before, const NameOf& name_of, size_t lines,
                    Layout layout);

}  // namespace keyfold
