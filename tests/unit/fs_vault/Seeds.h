// Seeds: which random runs a test makes.
#pragma once

#include <stdlib.h>

#include <numeric>
#include <vector>

namespace keyfold {

// Seeds are the first `count`, each time the same ones; KEYFOLD_TEST_SEED chooses
// another to begin with, KEYFOLD_TEST_STEPS how many.
inline std::vector<unsigned> Seeds(size_t count) {
  const auto given = [](const char* name, size_t otherwise) {
    const char* text = ::getenv(name);
    return text == nullptr ? otherwise : ::strtoul(text, nullptr, 10);
  };
  std::vector<unsigned> seeds(given("KEYFOLD_TEST_STEPS", count));
  std::iota(seeds.begin(), seeds.end(),
            static_cast<unsigned>(given("KEYFOLD_TEST_SEED", 0)));
  return seeds;
}

}  // namespace keyfold
