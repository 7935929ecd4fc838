// Names on the command line: AWS's spelling of operations.
#pragma once

#include <string>
#include <string_view>

namespace keyfold {

// KebabCase: "GetParametersForImport" becomes "get-parameters-for-import".
std::string KebabCase(std::string_view name);

}  // namespace keyfold
