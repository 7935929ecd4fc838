#include "fs/cli/Harmless.h"

namespace keyfold {
namespace {

unsigned char At(std::string_view text, size_t i) {
  return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
}

// SequenceSize is how many bytes of UTF-8 begin at `i`; 0 where none do.
size_t SequenceSize(std::string_view text, size_t i) {
  const unsigned char lead = At(text, i);
  size_t size = 0;
  if (lead >= 0xc2 && lead <= 0xdf) size = 2;
  if (lead >= 0xe0 && lead <= 0xef) size = 3;
  if (lead >= 0xf0 && lead <= 0xf4) size = 4;
  for (size_t k = 1; k < size; ++k)
    if ((At(text, i + k) & 0xc0) != 0x80) return 0;
  return size;
}

// SteersText: U+0080 to U+009F, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069.
bool SteersText(std::string_view sequence) {
  const unsigned char last = At(sequence, sequence.size() - 1);
  if (sequence.size() == 2) return At(sequence, 0) == 0xc2 && last < 0xa0;
  if (sequence.starts_with("\xe2\x80"))
    return last == 0x8e || last == 0x8f || (last >= 0xa8 && last <= 0xae);
  return sequence.starts_with("\xe2\x81") && last >= 0xa6 && last <= 0xa9;
}

}  // namespace

std::string Harmless(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t size = SequenceSize(text, i);
    if (size > 0) {
      const std::string_view sequence = text.substr(i, size);
      out += SteersText(sequence) ? "?" : sequence;
      i += size;
      continue;
    }
    const unsigned char c = At(text, i++);
    if (c == '\n' || c == '\t')
      out += ' ';
    else
      out += c < 0x20 || (c >= 0x7f && c < 0xa0) ? '?' : static_cast<char>(c);
  }
  return out;
}

}  // namespace keyfold
