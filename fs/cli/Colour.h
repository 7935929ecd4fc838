// Colour: words that say how something stands, in colour for people. Thread-safe.
#pragma once

#include <string>

namespace keyfold {

// Coloured is `cell` in green, yellow or red if it is such a word and standard output
// is a terminal with colours (not with NO_COLOR, https://no-color.org, or TERM=dumb);
// else itself.
std::string Coloured(const std::string& cell);

}  // namespace keyfold
