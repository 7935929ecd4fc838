#pragma once

namespace keyfold {

inline constexpr char kVersion[] = KEYFOLD_VERSION;  // the project's, of CMakeLists.txt

}  // namespace keyfold
