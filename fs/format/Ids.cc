#include "fs/format/Ids.h"

namespace keyfold {

bool IsKeyId(std::string_view text) {
  if (text.size() != kKeyIdSize) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (hyphen ? c != '-' : !hex) return false;
  }
  return true;
}

Bytes ContentKeyInfo(uint32_t epoch) {
  ByteWriter writer;
  writer.Append(kContentKeyLabel);
  writer.Integer(epoch);
  return writer.Take();
}

}  // namespace keyfold
