#include "fs/cli/Figures.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace keyfold {

std::string Amount(double bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes,
                kUnits[unit]);
  return text;
}

std::string Duration(double seconds) {
  const auto whole = static_cast<uint64_t>(std::max(0.0, std::round(seconds)));
  char text[32];
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%llu:%02u:%02u",
                  static_cast<unsigned long long>(whole / 3600),
                  static_cast<unsigned>(whole / 60 % 60),
                  static_cast<unsigned>(whole % 60));
  else
    std::snprintf(text, sizeof text, "%u:%02u", static_cast<unsigned>(whole / 60),
                  static_cast<unsigned>(whole % 60));
  return text;
}

std::string Number(uint64_t count, const char* one, const char* several) {
  return std::to_string(count) + " " + (count == 1 ? one : several);
}

std::string FilesOf(uint64_t count, uint64_t bytes) {
  return Number(count, "file", "files") + " (" + Amount(static_cast<double>(bytes)) +
         ")";
}

std::optional<uint64_t> ParseSize(std::string_view text) {
  constexpr std::string_view kUnits = "KMG";
  uint64_t size = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, size);
  if (parsed.ec != std::errc()) return std::nullopt;
  if (parsed.ptr == end) return size;
  const size_t unit = kUnits.find(*parsed.ptr);
  if (unit == std::string_view::npos || parsed.ptr + 1 != end) return std::nullopt;
  const unsigned shift = 10 * (static_cast<unsigned>(unit) + 1);
  if (size > UINT64_MAX >> shift) return std::nullopt;
  return size << shift;
}

}  // namespace keyfold
