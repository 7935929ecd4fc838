// Names on the command line: AWS's spelling of operations, and near misses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace keyfold {

// KebabCase: "GetParametersForImport" becomes "get-parameters-for-import".
std::string KebabCase(std::string_view name);
// Nearest returns the candidate that `word` was probably meant to be, or an
// empty string.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace keyfold
