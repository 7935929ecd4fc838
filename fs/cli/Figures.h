// Figures as people read and write them: amounts of bytes, durations, counts. Free
// functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keyfold {

std::string Amount(double bytes);      // "1.5 MiB"
std::string Duration(double seconds);  // "2:03", "1:02:03"
std::string Number(uint64_t count, const char* one, const char* several);
std::string FilesOf(uint64_t count, uint64_t bytes);  // "2 files (1.5 MiB)"
// ParseSize reads "500M": a number of bytes, or of KiB, MiB or GiB by K, M and G.
// Nothing for other text, and for what is more than 64 bits.
std::optional<uint64_t> ParseSize(std::string_view text);

}  // namespace keyfold
