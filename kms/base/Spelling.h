// Near misses: what a word was probably meant to be.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace keyfold {

// EditDistance counts insertions, removals and replacements (Levenshtein's
// distance), ASCII letters of either case alike. Takes a.size() * b.size() steps.
size_t EditDistance(std::string_view a, std::string_view b);

// Nearest returns the one of `candidates` (a range of strings) that differs from
// `word` in a third of its letters at most, the first of the nearest; else an
// empty string.
template <typename Range>
std::string Nearest(std::string_view word, const Range& candidates) {
  constexpr size_t kLongest = 64;
  std::string best;
  if (word.size() > kLongest) return best;
  size_t least = std::max<size_t>(word.size() / 3, 1) + 1;
  for (const std::string_view candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return best;
}

}  // namespace keyfold
