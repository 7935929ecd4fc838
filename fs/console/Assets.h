// Assets: the files of the pages (fs/console/web), which the build puts into the
// program. Immutable.
#pragma once

#include <string_view>

namespace keyfold {

struct Asset {
  std::string_view path;  // "/app.js"
  std::string_view content_type;
  std::string_view bytes;
};

// FindAsset finds the file of exactly that path, "/" being the page; null for none.
const Asset* FindAsset(std::string_view path);

}  // namespace keyfold
