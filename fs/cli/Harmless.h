// Text that others chose, made safe to show on a terminal.
#pragma once

#include <string>
#include <string_view>

namespace keyfold {

// Harmless replaces by '?' what could steer a terminal or reorder its line: the
// control characters of ASCII and of Unicode (C1), and the marks of text direction.
// Line breaks and tabs become spaces, so that a reason stays one line. Bytes that are
// no UTF-8 stay, but for 0x80 to 0x9f, which some terminals take for C1.
std::string Harmless(std::string_view text);

}  // namespace keyfold
